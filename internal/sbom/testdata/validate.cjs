// Has CycloneDX's own library hold JSON documents to version 1.6, where nothing may be
// that the schema doesn't know: node validate.cjs FILE…
const fs = require("fs");
const { Spec, Validation } = require("@cyclonedx/cyclonedx-library");

(async () => {
  for (const file of process.argv.slice(2)) {
    const faults = await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(fs.readFileSync(file, "utf8"));
    console.log(file, faults === null ? "valid" : JSON.stringify(faults));
    if (faults !== null) process.exitCode = 1;
  }
})();
