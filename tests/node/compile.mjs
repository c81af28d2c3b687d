// Compiles a folder of Solidity, imports from npm packages included; prints {name: {abi, bytecode, source}}.
//
//   node compile.mjs FOLDER

import { createRequire } from "node:module";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const solc = createRequire(import.meta.url)("solc");
const modules = join(dirname(fileURLToPath(import.meta.url)), "node_modules");
const folder = process.argv[2];

function found(path) {
  for (const root of [folder, modules]) {
    const file = join(root, path);
    if (existsSync(file)) return { contents: readFileSync(file, "utf8") };
  }
  return { error: `no file ${path}` };
}

const own = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".sol")).sort();
const input = {
  language: "Solidity",
  sources: Object.fromEntries(own.map((name) => [name, { content: found(name).contents }])),
  settings: {
    evmVersion: "osaka",
    optimizer: { enabled: true, runs: 200 },
    metadata: { bytecodeHash: "none" },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "storageLayout"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: found }));
const errors = (output.errors ?? []).filter(({ severity }) => severity === "error");
for (const { formattedMessage } of errors) console.error(formattedMessage);
if (errors.length) process.exit(1);

const made = {};
for (const [source, contracts] of Object.entries(output.contracts)) {
  for (const [name, { abi, evm }] of Object.entries(contracts)) {
    if (evm.bytecode.object) made[name] = { abi, bytecode: "0x" + evm.bytecode.object, source };
  }
}
process.stdout.write(JSON.stringify(made) + "\n");
