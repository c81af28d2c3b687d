// Runs contracts of real-world shape on whatever node the job names; prints what each transaction did, and what was read.
//
// The same job on two nodes whose accounts are fresh gives the same addresses, so reports can be compared as they are.
import { readFileSync } from "node:fs";
import {
  concatHex, createPublicClient, decodeErrorResult, encodeAbiParameters, encodeDeployData, encodeFunctionData, http, keccak256, parseEther, toHex, zeroHash,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";

const job = JSON.parse(readFileSync(0, "utf8"));
const [alice, bob, carol] = job.keys.map((key) => privateKeyToAccount(key));
const reader = createPublicClient({ transport: http(job.url), pollingInterval: 25 });
const everyError = Object.values(job.contracts).flatMap(({ abi }) => abi.filter(({ type }) => type === "error"));
const steps = [];
const reads = {};

async function send(name, from, { to, data, value = 0n, gas = 6_000_000n }) {
  const nonce = await reader.getTransactionCount({ address: from.address });
  const fees = { maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n };
  const raw = await from.signTransaction({ type: "eip1559", chainId: job.chainId, nonce, to, data, value, gas, ...fees });
  const hash = await reader.sendRawTransaction({ serializedTransaction: raw });
  const receipt = await reader.waitForTransactionReceipt({ hash });
  const logs = receipt.logs.map(({ address, topics, data: said }) => ({ address, topics, data: said }));
  steps.push({ name, status: receipt.status, gasUsed: Number(receipt.gasUsed), contractAddress: receipt.contractAddress ?? null, logs });
  return receipt;
}

const contract = (name, address) => ({ name, address, abi: job.contracts[name].abi });
const callOf = (at, functionName, args) => ({ to: at.address, data: encodeFunctionData({ abi: at.abi, functionName, args }) });
const codeOf = (name, args) => encodeDeployData({ abi: job.contracts[name].abi, bytecode: job.contracts[name].bytecode, args });
async function deploy(name, args = [], as = name) {
  const { contractAddress } = await send(`deploy ${as}`, alice, { data: codeOf(name, args) });
  return contract(name, contractAddress);
}
async function act(from, at, functionName, args = [], more = {}) {
  const receipt = await send(`${at.name}.${functionName}`, from, { ...callOf(at, functionName, args), ...more });
  if (receipt.status !== "success") throw new Error(`${at.name}.${functionName} reverted`);
  return receipt;
}
// A refusal is asked for by call, where its reason shows, and then sent all the same.
async function refused(from, at, functionName, args = [], more = {}) {
  const call = { ...callOf(at, functionName, args), ...more };
  let reason = null;
  try {
    await reader.call({ account: from.address, ...call });
  } catch (error) {
    const { data } = error.walk((inner) => typeof inner.data === "string" && inner.data.startsWith("0x"));
    reason = decodeErrorResult({ abi: everyError, data });
  }
  const { status } = await send(`${at.name}.${functionName} refused`, from, call);
  if (reason === null || status !== "reverted") throw new Error(`${at.name}.${functionName} did not revert`);
  steps.at(-1).reason = [reason.errorName, ...(reason.args ?? []).map(String)];
}
async function read(at, functionName, args = []) {
  const value = await reader.readContract({ address: at.address, abi: at.abi, functionName, args });
  reads[`${at.name}.${functionName}(${args.join(",")})`] = JSON.parse(JSON.stringify(value, (_, each) => (typeof each === "bigint" ? String(each) : each)));
  return value;
}

const ether = parseEther;

async function coins() {
  const gold = await deploy("Coin", ["Gold", "GLD", ether("1000000")], "Gold");
  await act(alice, gold, "transfer", [bob.address, ether("1000")]);
  await act(alice, gold, "transfer", [bob.address, 1n]); // to a balance that is there already
  await act(bob, gold, "approve", [carol.address, ether("5")]);
  await act(carol, gold, "transferFrom", [bob.address, carol.address, ether("2")]);
  await refused(carol, gold, "transferFrom", [bob.address, carol.address, ether("4")]);
  await refused(bob, gold, "transfer", [alice.address, ether("100000")]);
  await act(bob, gold, "burn", [ether("1")]);
  const domain = { name: "Gold", version: "1", chainId: job.chainId, verifyingContract: gold.address };
  const address = "address";
  const fields = { owner: address, spender: address, value: "uint256", nonce: "uint256", deadline: "uint256" };
  const types = { Permit: Object.entries(fields).map(([name, type]) => ({ name, type })) };
  const message = { owner: bob.address, spender: carol.address, value: 77n, nonce: 0n, deadline: 2n ** 64n };
  const signature = await bob.signTypedData({ domain, types, primaryType: "Permit", message });
  const [r, s, v] = [signature.slice(0, 66), "0x" + signature.slice(66, 130), parseInt(signature.slice(130), 16)];
  await act(carol, gold, "permit", [bob.address, carol.address, 77n, 2n ** 64n, v, r, s]);
  await refused(carol, gold, "permit", [bob.address, carol.address, 77n, 2n ** 64n, v, r, s]);
  await read(gold, "allowance", [bob.address, carol.address]);
  await read(gold, "balanceOf", [bob.address]);
  await read(gold, "totalSupply");
  return gold;
}

async function deeds() {
  const deed = await deploy("Deed");
  const archive = await deploy("Archive", [deed.address]);
  const stranger = await deploy("Archive", [alice.address], "strange Archive");
  for (const id of [7n, 8n, 9n]) await act(alice, deed, "mint", [bob.address, id]);
  await refused(bob, deed, "mint", [bob.address, 10n]);
  await refused(alice, deed, "mint", [bob.address, 7n]);
  const safe = { abi: deed.abi.filter((entry) => entry.name !== "safeTransferFrom" || entry.inputs.length === 3), address: deed.address, name: "Deed" };
  await act(bob, safe, "safeTransferFrom", [bob.address, archive.address, 8n]);
  await refused(bob, safe, "safeTransferFrom", [bob.address, stranger.address, 7n]);
  await act(bob, deed, "setApprovalForAll", [carol.address, true]);
  await act(carol, deed, "transferFrom", [bob.address, carol.address, 9n]);
  await act(bob, deed, "approve", [alice.address, 7n]);
  await read(deed, "ownerOf", [8n]);
  await read(deed, "tokenOfOwnerByIndex", [bob.address, 0n]);
  await read(archive, "count");
}

async function exchange(gold) {
  const salt = await deploy("Coin", ["Salt", "SLT", ether("1000000")], "Salt");
  const silk = await deploy("Coin", ["Silk", "SLK", ether("1000000")], "Silk");
  const factory = await deploy("PairFactory");
  const router = await deploy("Router", [factory.address]);
  await act(alice, factory, "make", [gold.address, salt.address]);
  await act(alice, factory, "make", [salt.address, silk.address]);
  for (const coin of [gold, salt, silk]) await act(alice, coin, "approve", [router.address, 2n ** 256n - 1n]);
  await act(alice, router, "lend", [gold.address, salt.address, ether("1000"), ether("50000")]);
  await act(alice, router, "lend", [salt.address, silk.address, ether("2000"), ether("3000")]);
  await act(alice, router, "lend", [gold.address, salt.address, ether("10"), ether("500")]);
  await act(bob, gold, "approve", [router.address, ether("100")]);
  await act(bob, router, "swap", [ether("10"), 1n, [gold.address, salt.address]]);
  await act(bob, router, "swap", [ether("1"), 1n, [gold.address, salt.address, silk.address]]);
  await refused(bob, router, "swap", [ether("1"), ether("50"), [gold.address, salt.address]]);
  const pair = contract("Pair", await read(factory, "pairOf", [salt.address, gold.address]));
  await refused(bob, pair, "swap", [1000n, 0n, bob.address]);
  await act(alice, pair, "transfer", [pair.address, ether("100")]);
  await act(alice, pair, "giveBack", [alice.address]);
  for (const name of ["reserve0", "reserve1", "totalSupply"]) await read(pair, name);
  await read(silk, "balanceOf", [bob.address]);
}

async function multisig(gold) {
  const owners = [alice, bob, carol].sort((one, other) => (one.address.toLowerCase() < other.address.toLowerCase() ? -1 : 1));
  const purse = await deploy("Multisig", [owners.map(({ address }) => address), 2n]);
  await send("coins for the purse", alice, { to: purse.address, value: ether("3") });
  await act(alice, gold, "transfer", [purse.address, ether("50")]);
  await act(alice, purse, "propose", [gold.address, 0n, callOf(gold, "transfer", [carol.address, ether("20")]).data]);
  await act(alice, purse, "propose", [carol.address, ether("4"), "0x"]);
  await act(alice, purse, "vote", [0n]);
  await refused(alice, purse, "vote", [0n]);
  await refused(bob, purse, "execute", [0n]);
  await act(bob, purse, "vote", [0n]);
  await act(bob, purse, "execute", [0n]);
  await act(alice, purse, "vote", [1n]);
  await act(carol, purse, "vote", [1n]);
  await refused(carol, purse, "execute", [1n]); // more than there is
  const what = ["uint256", "address", "uint256", "address", "uint256", "bytes"].map((type) => ({ type }));
  const hash = keccak256(encodeAbiParameters(what, [BigInt(job.chainId), purse.address, 0n, carol.address, ether("1"), "0x"]));
  const signatures = await Promise.all(owners.slice(0, 2).map((owner) => owner.signMessage({ message: { raw: hash } })));
  await refused(carol, purse, "executeSigned", [carol.address, ether("1"), "0x", signatures.toReversed()]);
  await act(carol, purse, "executeSigned", [carol.address, ether("1"), "0x", signatures]);
  await refused(carol, purse, "executeSigned", [carol.address, ether("1"), "0x", signatures]); // replayed
  await read(gold, "balanceOf", [purse.address]);
  reads["purse holds"] = String(await reader.getBalance({ address: purse.address }));
}

async function proxies() {
  const [one, two] = [await deploy("Counter"), await deploy("CounterTwo")];
  const start = encodeFunctionData({ abi: one.abi, functionName: "initialize", args: [alice.address, 5n] });
  const rename = encodeFunctionData({ abi: two.abi, functionName: "rename", args: ["second"] });
  await refused(alice, one, "initialize", [alice.address, 1n]);

  const self = { ...(await deploy("ERC1967Proxy", [one.address, start], "self-upgrading proxy")), abi: two.abi };
  await act(bob, self, "step");
  await refused(bob, self, "upgradeToAndCall", [two.address, rename]);
  await act(alice, self, "upgradeToAndCall", [two.address, rename]);
  await act(bob, self, "step");
  await read(self, "count");
  await read(self, "name");

  const made = await deploy("TransparentUpgradeableProxy", [one.address, alice.address, start], "transparent proxy");
  const topic = keccak256(toHex("AdminChanged(address,address)"));
  const changed = steps.at(-1).logs.find(({ topics }) => topics[0] === topic);
  const admin = contract("ProxyAdmin", "0x" + changed.data.slice(-40));
  const seen = { ...made, abi: two.abi };
  await act(bob, seen, "step");
  await refused(bob, admin, "upgradeAndCall", [made.address, two.address, rename]);
  await act(alice, admin, "upgradeAndCall", [made.address, two.address, rename]);
  await act(bob, seen, "step");
  reads["transparent count"] = String(await reader.readContract({ address: made.address, abi: two.abi, functionName: "count" }));
}

async function workshop() {
  const shop = await deploy("Workshop");
  const code = codeOf("Coin", ["Made", "MDE", 10n]);
  const salt = toHex("salt", { size: 32 });
  const foretold = await read(shop, "addressOf", [salt, keccak256(code)]);
  await act(alice, shop, "make", [salt, code]);
  if (steps.at(-1).logs.at(-1).topics[1].slice(-40) !== foretold.slice(2).toLowerCase()) throw new Error("made elsewhere");
  await refused(alice, shop, "make", [salt, code]); // the address is taken
  await act(bob, shop, "make", [zeroHash, concatHex([code])]);
  await act(bob, shop, "clone", [foretold, salt]);
  await read(contract("Coin", foretold), "name");
}

await send("coins for carol", alice, { to: carol.address, value: ether("10") });
const gold = await coins();
await deeds();
await exchange(gold);
await multisig(gold);
await proxies();
await workshop();
process.stdout.write(JSON.stringify({ steps, reads }) + "\n");
process.exit(0);
