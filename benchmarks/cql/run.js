// Runs a CQL library in ELM over patients, one at a time, on cql-execution.
// Reads {elm, findings, patients, passes} from standard input; writes {found, microseconds, versions}:
// for each patient which of the findings are true, and for each patient of each pass how long it took.
const cql = require('cql-execution');
const fs = require('fs');

async function main() {
  const task = JSON.parse(fs.readFileSync(0, 'utf8'));
  const executor = new cql.Executor(new cql.Library(task.elm));
  const found = [];
  const microseconds = [];
  // Before the passes that count, one to give the answers, and for Node to compile what it runs.
  for (let pass = 0; pass <= task.passes; pass++) {
    for (const patient of task.patients) {
      const start = process.hrtime.bigint();
      const results = await executor.exec(new cql.PatientSource([patient]));
      const definitions = results.patientResults[patient.id];
      const names = task.findings.filter((name) => definitions[name] === true);
      const took = Number(process.hrtime.bigint() - start) / 1000;
      if (pass === 0) {
        found.push(names);
      } else {
        microseconds.push(took);
      }
    }
  }
  const { version } = require('cql-execution/package.json');
  const versions = `Node ${process.versions.node}, cql-execution ${version}`;
  process.stdout.write(JSON.stringify({ found, microseconds, versions }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
