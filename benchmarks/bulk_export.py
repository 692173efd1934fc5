"""A FHIR bulk export of any size, made up: the load for benchmarks/bulk.py and for tests.

How it is made. One random generator, seeded by a number, draws each patient in turn: a Patient resource of some
900 bytes, and per patient about two Conditions, three Procedures, six Observations and two MedicationRequests (each
number uniform from none to twice that), with a few administrations, statements and allergies. Names, addresses and
identifiers are numbers. Most resources have nothing to do with the guideline: their codes are real ones of everyday
care (vital signs, blood counts, check-ups). Which resources have a code of the mapping, with which status, value,
unit and date, is drawn from the tables below. **The frequencies are invented, to give load, and are no epidemiology**:
they are set so that each kind of fact, and each kind of contradiction between resources, comes up.

Usage: python benchmarks/bulk_export.py FOLDER PATIENTS [SEED]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
RXNORM, ICD10CM = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/icd-10-cm"

# (system, code, display): nothing of these is in the mapping.
CONDITIONS = [
    (SNOMED, "38341003", "Hypertensive disorder"),
    (SNOMED, "195662009", "Acute viral pharyngitis"),
    (SNOMED, "444814009", "Viral sinusitis"),
    (SNOMED, "10509002", "Acute bronchitis"),
    (SNOMED, "162864005", "Body mass index 30+ - obesity"),
    (SNOMED, "73211009", "Diabetes mellitus"),
    (SNOMED, "66383009", "Gingivitis"),
    (SNOMED, "314529007", "Medication review due"),
    (ICD10CM, "J06.9", "Acute upper respiratory infection, unspecified"),
    (ICD10CM, "M54.5", "Low back pain"),
    (ICD10CM, "E78.5", "Hyperlipidemia, unspecified"),
]
PROCEDURES = [
    (SNOMED, "430193006", "Medication reconciliation"),
    (SNOMED, "171207006", "Depression screening"),
    (SNOMED, "710824005", "Assessment of health and social care needs"),
    (SNOMED, "34043003", "Dental consultation and report"),
    (SNOMED, "23426006", "Measurement of respiratory function"),
    (SNOMED, "180256009", "Subcutaneous immunotherapy"),
]
# ... and a unit and the bounds of a value.
OBSERVATIONS = [
    (LOINC, "8867-4", "Heart rate", "/min", 50, 110),
    (LOINC, "9279-1", "Respiratory rate", "/min", 12, 20),
    (LOINC, "29463-7", "Body weight", "kg", 45, 120),
    (LOINC, "8302-2", "Body height", "cm", 150, 200),
    (LOINC, "39156-5", "Body mass index (BMI) [Ratio]", "kg/m2", 17, 42),
    (LOINC, "718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 9, 18),
    (LOINC, "6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", 3, 12),
    (LOINC, "2339-0", "Glucose [Mass/volume] in Blood", "mg/dL", 60, 200),
    (LOINC, "2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", 120, 300),
]
MEDICINES = [
    (RXNORM, "314076", "lisinopril 10 MG Oral Tablet"),
    (RXNORM, "308136", "amlodipine 2.5 MG Oral Tablet"),
    (RXNORM, "198405", "ibuprofen 100 MG Oral Tablet"),
    (RXNORM, "313782", "acetaminophen 325 MG Oral Tablet"),
    (RXNORM, "312961", "simvastatin 20 MG Oral Tablet"),
]

# (chance, system, code, display): these are in the mapping.
MAPPED_CONDITIONS = [
    (0.030, SNOMED, "190634004", "Vitamin B12 deficiency"),
    (0.010, ICD10CM, "D51.9", "Vitamin B12 deficiency anemia, unspecified"),
    (0.010, ICD10CM, "E53.8", "Deficiency of other specified B group vitamins"),
    (0.007, SNOMED, "84027009", "Pernicious anemia"),
    (0.003, ICD10CM, "G32.0", "Subacute combined degeneration of spinal cord in diseases classified elsewhere"),
    (0.020, SNOMED, "386033004", "Neuropathy"),
    (0.050, SNOMED, "433144002", "Chronic kidney disease stage 3"),
    (0.030, SNOMED, "431855005", "Chronic kidney disease stage 1"),
    (0.010, SNOMED, "77386006", "Pregnancy"),
]
MAPPED_PROCEDURES = [
    (0.010, SNOMED, "430715008", "Bariatric operative procedure"),
    (0.002, SNOMED, "265764009", "Renal dialysis"),
    (0.002, SNOMED, "70536003", "Transplant of kidney"),
]
MAPPED_OBSERVATIONS = [
    (0.350, LOINC, "4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count", "%", 25, 55),
    (0.100, LOINC, "4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count", "%", 25, 55),
    (0.010, LOINC, "20570-8", "Hematocrit [Volume Fraction] of Blood", "L/L", 0, 1),
    (0.060, LOINC, "2132-9", "Cobalamin (Vitamin B12) [Mass/volume] in Serum or Plasma", "pg/mL", 100, 900),
    (0.020, LOINC, "14685-2", "Cobalamin (Vitamin B12) [Moles/volume] in Serum or Plasma", "pmol/L", 80, 600),
    (0.030, LOINC, "13965-9", "Homocysteine [Moles/volume] in Serum or Plasma", "umol/L", 4, 40),
]
MAPPED_MEDICINES = [
    (0.080, RXNORM, "860975", "24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet"),
    (0.020, RXNORM, "4511", "folic acid"),
    (0.030, RXNORM, "309594", "cyanocobalamin 1 MG/ML Injectable Solution"),
]
VERIFICATION = ["confirmed"] * 94 + ["provisional"] * 3 + ["refuted"] * 3

_PATIENT = (
    '{{"resourceType":"Patient","id":"{id}","meta":{{"profile":'
    '["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"]}},'
    '"identifier":[{{"system":"http://hospital.example/mrn","value":"{id}"}},{{"type":{{"coding":[{{"system":'
    '"http://terminology.hl7.org/CodeSystem/v2-0203","code":"SS","display":"Social Security Number"}}],'
    '"text":"Social Security Number"}},"system":"http://hl7.org/fhir/sid/us-ssn","value":"999-{number}"}}],'
    '"name":[{{"use":"official","family":"Family{number}","given":["Given{number}"],"prefix":["Mx."]}}],'
    '"telecom":[{{"system":"phone","value":"555-{number}","use":"home"}}],"gender":"{gender}","birthDate":"{born}",'
    '"address":[{{"line":["{number} Example Street"],"city":"Town","state":"State","postalCode":"00000",'
    '"country":"XX"}}],"maritalStatus":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus",'
    '"code":"M","display":"Married"}}],"text":"Married"}},"multipleBirthBoolean":false}}\n'
)
_HEAD = (
    '{{"resourceType":"{type}","id":"{id}","meta":{{"profile":'
    '["http://hl7.org/fhir/us/core/StructureDefinition/us-core-{profile}"]}},'
)
_CODE = '{{"coding":[{{"system":"{system}","code":"{code}","display":"{display}"}}],"text":"{display}"}}'
_STATUS = '{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/{system}","code":"{code}"}}]}}'
_ABOUT = '"subject":{{"reference":"Patient/{patient}"}},"encounter":{{"reference":"Encounter/{encounter}"}}'


class _Patient:
    """Draws the resources of one patient."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self.rng = rng
        self.number = number
        self.id = self.uuid()
        self.encounter = self.uuid()

    def uuid(self) -> str:
        digits = f"{self.rng.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def day(self) -> str:
        rng = self.rng
        return f"{rng.randint(1990, 2025)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"

    def moment(self) -> str:
        rng = self.rng
        return f"{self.day()}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}-05:00"

    def head(self, type: str, profile: str) -> str:
        return _HEAD.format(type=type, id=self.uuid(), profile=profile)

    def about(self) -> str:
        return _ABOUT.format(patient=self.id, encounter=self.encounter)

    def resources(self) -> Iterator[tuple[str, str]]:
        """The types and lines of the resources."""
        rng = self.rng
        born = f"{rng.randint(1930, 2020)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        gender = rng.choice(("female", "male"))
        yield "Patient", _PATIENT.format(id=self.id, number=self.number, gender=gender, born=born)
        yield from self.some("Condition", self.condition, CONDITIONS, 4, MAPPED_CONDITIONS)
        yield from self.some("Procedure", self.procedure, PROCEDURES, 6, MAPPED_PROCEDURES)
        yield from self.some("Observation", self.observation, OBSERVATIONS, 12, MAPPED_OBSERVATIONS)
        yield from self.some("MedicationRequest", self.order, MEDICINES, 4, MAPPED_MEDICINES)
        yield from self.some("MedicationAdministration", self.dose, MEDICINES, 0, [(0.01, *MAPPED_MEDICINES[-1][1:])])
        yield from self.some("MedicationStatement", self.use, MEDICINES, 0, [(0.01, *MAPPED_MEDICINES[-1][1:])])
        if rng.random() < 0.1:
            yield "AllergyIntolerance", self.allergy(RXNORM, "5514" if rng.random() < 0.01 else "1191", "a medicine")

    def some(
        self,
        type: str,
        make: Callable[..., str],
        plain: list[tuple[object, ...]],
        most: int,
        mapped: list[tuple[object, ...]],
    ) -> Iterator[tuple[str, str]]:
        """Up to ``most`` of the plain ones, and of the mapped ones whichever comes up."""
        for _ in range(self.rng.randint(0, most)):
            yield type, make(*self.rng.choice(plain))
        for chance, *what in mapped:
            if self.rng.random() < float(str(chance)):
                yield type, make(*what)

    def condition(self, system: str, code: str, display: str) -> str:
        verified = self.rng.choice(VERIFICATION)
        when, active = self.moment(), self.rng.random() < 0.8
        clinical = _STATUS.format(system="condition-clinical", code="active" if active else "resolved")
        return (
            self.head("Condition", "condition-encounter-diagnosis")
            + f'"clinicalStatus":{clinical},"verificationStatus":'
            + _STATUS.format(system="condition-ver-status", code=verified)
            + ',"category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-category",'
            + '"code":"encounter-diagnosis","display":"Encounter Diagnosis"}]}],"code":'
            + _CODE.format(system=system, code=code, display=display)
            + f',{self.about()},"onsetDateTime":"{when}"'
            + ("" if active else f',"abatementDateTime":"{self.moment()}"')
            + f',"recordedDate":"{when}"}}\n'
        )

    def procedure(self, system: str, code: str, display: str) -> str:
        when = self.moment()
        return (
            self.head("Procedure", "procedure")
            + '"status":"completed","code":'
            + _CODE.format(system=system, code=code, display=display)
            + f',{self.about()},"performedPeriod":{{"start":"{when}","end":"{when}"}},'
            + '"location":{"reference":"Location?identifier=http://hospital.example/location|1","display":"Clinic"}}\n'
        )

    def observation(self, system: str, code: str, display: str, unit: str, low: float, high: float) -> str:
        when = self.moment()
        value = round(self.rng.uniform(low, high), 3 if high <= 1 else 1)
        final = "final" if self.rng.random() < 0.98 else "preliminary"
        bound = '"comparator":"<",' if self.rng.random() < 0.005 else ""
        return (
            self.head("Observation", "observation-lab")
            + f'"status":"{final}","category":[{{"coding":[{{"system":'
            + '"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory",'
            + '"display":"Laboratory"}]}],'
            + '"code":'
            + _CODE.format(system=system, code=code, display=display)
            + f',{self.about()},"effectiveDateTime":"{when}","issued":"{when}",'
            + f'"valueQuantity":{{"value":{value},{bound}'
            + f'"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}}}}\n'
        )

    def order(self, system: str, code: str, display: str) -> str:
        state = self.rng.choice(("active", "stopped", "completed"))
        return (
            self.head("MedicationRequest", "medicationrequest")
            + f'"status":"{state}","intent":"order","medicationCodeableConcept":'
            + _CODE.format(system=system, code=code, display=display)
            + f',{self.about()},"authoredOn":"{self.moment()}","requester":{{"reference":'
            + '"Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|1","display":"A practitioner"},'
            + '"dosageInstruction":[{"sequence":1,"timing":{"repeat":{"frequency":1,"period":1.0,"periodUnit":"d"}},'
            + '"asNeededBoolean":false}]}\n'
        )

    def dose(self, system: str, code: str, display: str) -> str:
        return (
            self.head("MedicationAdministration", "medicationadministration")
            + '"status":"completed","medicationCodeableConcept":'
            + _CODE.format(system=system, code=code, display=display)
            + f',"subject":{{"reference":"Patient/{self.id}"}},"effectiveDateTime":"{self.moment()}"}}\n'
        )

    def use(self, system: str, code: str, display: str) -> str:
        state = self.rng.choice(("active", "stopped", "completed"))
        return (
            self.head("MedicationStatement", "medicationstatement")
            + f'"status":"{state}","medicationCodeableConcept":'
            + _CODE.format(system=system, code=code, display=display)
            + f',"subject":{{"reference":"Patient/{self.id}"}},"dateAsserted":"{self.day()}"}}\n'
        )

    def allergy(self, system: str, code: str, display: str) -> str:
        return (
            self.head("AllergyIntolerance", "allergyintolerance")
            + f'"clinicalStatus":{_STATUS.format(system="allergyintolerance-clinical", code="active")},'
            + f'"verificationStatus":{_STATUS.format(system="allergyintolerance-verification", code="confirmed")},'
            + '"type":"allergy","category":["medication"],"criticality":"low","code":'
            + _CODE.format(system=system, code=code, display=display)
            + f',"patient":{{"reference":"Patient/{self.id}"}},"recordedDate":"{self.moment()}"}}\n'
        )


TYPES = (
    "Patient",
    "Condition",
    "Procedure",
    "Observation",
    "MedicationRequest",
    "MedicationAdministration",
    "MedicationStatement",
    "AllergyIntolerance",
)


def write_export(folder: Path, patients: int, seed: int = 1) -> int:
    """Write an export of so many patients, one file a type; returns how many resources are in it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    count = 0
    with ExitStack() as stack:
        files = {type: stack.enter_context((folder / f"{type}.ndjson").open("w", encoding="utf-8")) for type in TYPES}
        for number in range(patients):
            for type, line in _Patient(rng, number).resources():
                files[type].write(line)
                count += 1
    return count


if __name__ == "__main__":
    where, how_many, *which = sys.argv[1:]
    print(write_export(Path(where), int(how_many), *map(int, which)), "resources")
