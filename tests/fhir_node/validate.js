// Reads FHIR resources in JSON, one a line, and writes for each line what is wrong with it: a JSON list.
// Checked against the definitions of R4 (4.0.1) are structure, cardinality and required bindings, and that no
// element stands there which R4 lacks.
"use strict";

const readline = require("node:readline");
const { Fhir } = require("fhir");

const fhir = new Fhir();
const definitions = fhir.parser.parsedStructureDefinitions;
const { _valueSet: binding } = definitions.GuidanceResponse._properties.find(({ _name }) => _name === "status");
if (!binding.endsWith("|4.0.1")) {
  throw new Error(`the definitions bind to ${binding}, and not to 4.0.1`);
}

// fhir 4.12.0 looks into parts of type BackboneElement and passes over those of type Element, such as
// Timing.repeat and Dosage.doseAndRate, though it has read their definitions.
function lookInto(properties) {
  for (const property of properties ?? []) {
    if (property._type === "Element" && property._properties?.length) {
      property._type = "BackboneElement";
    }
    lookInto(property._properties);
  }
}
Object.values(definitions).forEach(({ _properties }) => lookInto(_properties));

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { messages } = fhir.validate(JSON.parse(line), { errorOnUnexpected: true });
  process.stdout.write(JSON.stringify(messages) + "\n");
});
