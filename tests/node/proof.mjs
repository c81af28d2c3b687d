// Checks what eth_getProof answered with @ethereumjs/mpt: code that shares nothing with the node.

import { MerklePatriciaTrie, verifyMPTWithMerkleProof } from "@ethereumjs/mpt";
import { RLP } from "@ethereumjs/rlp";
import { bytesToHex, hexToBytes } from "@ethereumjs/util";
import { keccak256 } from "viem";
import { fileURLToPath } from "node:url";

const EMPTY_ROOT = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421";

async function valueAt(root, key, proof) {
  const nodes = proof.map((node) => hexToBytes(node));
  const found = await verifyMPTWithMerkleProof(new MerklePatriciaTrie(), hexToBytes(root), hexToBytes(keccak256(key)), nodes);
  return found === null ? null : RLP.decode(found);
}

const quantity = (bytes) => BigInt(bytes.length ? bytesToHex(bytes) : 0);

// The account and the slots that the proof proves under the state root; throws where the proof and its claims disagree.
export async function proven(stateRoot, proof) {
  const [nonce, balance, storageHash, codeHash] = await valueAt(stateRoot, proof.address, proof.accountProof);
  const account = { nonce: quantity(nonce), balance: quantity(balance), storageHash: bytesToHex(storageHash), codeHash: bytesToHex(codeHash) };
  for (const name of ["nonce", "balance"]) {
    if (account[name] !== BigInt(proof[name])) throw new Error(`${name}: ${account[name]} is proven, ${proof[name]} is claimed`);
  }
  for (const name of ["storageHash", "codeHash"]) {
    if (account[name] !== proof[name]) throw new Error(`${name}: ${account[name]} is proven, ${proof[name]} is claimed`);
  }
  const slots = {};
  for (const { key, value, proof: nodes } of proof.storageProof) {
    const padded = "0x" + BigInt(key).toString(16).padStart(64, "0");
    const bytes = account.storageHash === EMPTY_ROOT ? null : await valueAt(account.storageHash, padded, nodes);
    const slot = bytes === null ? 0n : quantity(bytes);
    if (slot !== BigInt(value)) throw new Error(`slot ${key}: ${slot} is proven, ${value} is claimed`);
    slots[BigInt(key)] = Number(slot);
  }
  return { nonce: Number(account.nonce), codeHash: account.codeHash, slots };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { readFileSync } = await import("node:fs");
  const { stateRoot, proof } = JSON.parse(readFileSync(0, "utf8"));
  process.stdout.write(JSON.stringify(await proven(stateRoot, proof)) + "\n");
}
