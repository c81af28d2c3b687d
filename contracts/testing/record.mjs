#!/usr/bin/env node
// Asks a node's model and prints the answer as one entry of an answers file, for RecordedAnswers.sol.
//
//   bitai-record --rpc http://127.0.0.1:8545 --model 0x... --input 0x... --max-output 21 [--params 0x] [--into FILE]
//
// With --into the entry is added to the JSON list in FILE, in the place of an older answer to the same request.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

const PRECOMPILE = "0x0000000000000000000000000000000000100000";
const SELECTOR = "2beefa08"; // infer(bytes32,bytes,bytes,uint32)

const word = (value) => BigInt(value).toString(16).padStart(64, "0");
const hexOf = (text, name) => {
  if (!/^0x([0-9a-fA-F]{2})*$/.test(text ?? "")) throw new Error(`--${name} takes bytes in hexadecimal, e.g. 0x00ff`);
  return text.slice(2).toLowerCase();
};
const tail = (hex) => word(hex.length / 2) + hex.padEnd(Math.ceil(hex.length / 64) * 64, "0");

function calldata({ model, input, params, maxOutput }) {
  const first = tail(input);
  return "0x" + SELECTOR + model + word(128) + word(128 + first.length / 2) + word(maxOutput) + first + tail(params);
}

function decoded(result) {
  const body = result.slice(2);
  const length = parseInt(body.slice(128, 192), 16);
  return { status: parseInt(body.slice(0, 64), 16), output: "0x" + body.slice(192, 192 + 2 * length) };
}

async function ask(url, request) {
  const call = { to: PRECOMPILE, data: calldata(request) };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_call", params: [call, "latest"] });
  const reply = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  const { error, result } = await reply.json();
  if (error) throw new Error(`the node says: ${error.message}`);
  if (result.length < 194) throw new Error("the node has no inference precompile: is it a BitAI node?");
  return decoded(result);
}

async function main() {
  const text = { type: "string" };
  const options = { rpc: text, model: text, input: text, params: { ...text, default: "0x" }, "max-output": text, into: text };
  const { values } = parseArgs({ options });
  const model = hexOf(values.model, "model");
  if (model.length !== 64) throw new Error("--model takes the 32-byte id that `bitai-node model ls` shows");
  const maxOutput = Number(values["max-output"]);
  if (!Number.isInteger(maxOutput) || maxOutput < 0 || maxOutput >= 2 ** 32) throw new Error("--max-output takes a number of bytes");
  const request = { model, input: hexOf(values.input, "input"), params: hexOf(values.params, "params"), maxOutput };
  const asked = { modelId: "0x" + model, input: "0x" + request.input, params: "0x" + request.params, maxOutput };
  const entry = { ...asked, ...(await ask(values.rpc ?? "http://127.0.0.1:8545", request)) };
  if (!values.into) return void console.log(JSON.stringify(entry, null, 2));
  const same = (other) => Object.keys(asked).every((name) => other[name] === asked[name]);
  const kept = existsSync(values.into) ? JSON.parse(readFileSync(values.into, "utf8")).filter((other) => !same(other)) : [];
  writeFileSync(values.into, JSON.stringify([...kept, entry], null, 2) + "\n");
}

main().catch((error) => {
  console.error(`bitai-record: ${error.message}`);
  process.exitCode = 1;
});
