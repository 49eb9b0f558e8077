// validate.mjs FILE…: holds CSAF 2.0 documents to the mandatory and the optional tests of
// the standard (its sections 6.1 and 6.2), as BSI's library has them. It prints a line for
// each fault and exits 1 if there was any.
import { readFileSync } from 'node:fs'
import validate from '@secvisogram/csaf-validator-lib/validate.js'
import * as basic from '@secvisogram/csaf-validator-lib/basic.js'
import * as optional from '@secvisogram/csaf-validator-lib/optionalTests.js'

let faulty = false
for (const file of process.argv.slice(2)) {
  const { tests } = await validate(
    [...Object.values(basic), ...Object.values(optional)],
    JSON.parse(readFileSync(file, 'utf8'))
  )
  for (const test of tests) {
    for (const fault of [...test.errors, ...test.warnings]) {
      faulty = true
      console.log(`${file}: ${test.name}: ${fault.instancePath}: ${fault.message}`)
    }
  }
}
process.exit(faulty ? 1 : 0)
