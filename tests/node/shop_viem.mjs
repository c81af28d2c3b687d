// The shop's story with viem: deploy, send each transaction type, watch, revert, prove; a JSON job in, a JSON report out.
import { readFileSync } from "node:fs";
import { BaseError, ContractFunctionRevertedError, createPublicClient, createWalletClient, defineChain, encodeFunctionData, http, webSocket } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { proven } from "./proof.mjs";

const job = JSON.parse(readFileSync(0, "utf8"));
const chain = defineChain({
  id: job.chainId,
  name: "BitAI",
  nativeCurrency: { name: "Bitcoin", symbol: "BTC", decimals: 18 },
  rpcUrls: { default: { http: [job.url] } },
});
const account = privateKeyToAccount(job.key);
const reader = createPublicClient({ chain, transport: http(job.url), pollingInterval: 50 });
const socket = createPublicClient({ chain, transport: webSocket(job.url.replace("http", "ws")) });
const wallet = createWalletClient({ chain, transport: http(job.url), account });

const receiptOf = async (hash) => {
  const receipt = await reader.waitForTransactionReceipt({ hash });
  if (receipt.status !== "success") throw new Error(`reverted: ${hash}`);
  return receipt;
};
const deploy = async (name, args = []) => {
  const { abi, bytecode } = job.contracts[name];
  return (await receiptOf(await wallet.deployContract({ abi, bytecode, args }))).contractAddress;
};

const till = await deploy("Till");
const shop = await deploy("Shop", [till, 9n, 100n]);
const errands = await deploy("Errands");
await receiptOf(await wallet.writeContract({ address: till, abi: job.contracts.Till.abi, functionName: "choose", args: [shop] }));

const atShop = { address: shop, abi: job.contracts.Shop.abi };
const sold = { ...atShop, eventName: "Sold" };
const first = await reader.getBlockNumber();
const filter = await reader.createContractEventFilter(sold);
const told = [];
const stop = socket.watchContractEvent({ ...sold, onLogs: (logs) => told.push(...logs) });
await socket.getBlockNumber(); // the subscription was asked for before this, on the same connection

const buy = (item, count, note) => ({ ...atShop, functionName: "buy", args: [item, count, note], value: 10n });
const sent = {};
const send = async (kind, hash) => {
  const receipt = await receiptOf(hash);
  const transaction = await reader.getTransaction({ hash });
  sent[kind] = { hash, type: transaction.typeHex, gasUsed: Number(receipt.gasUsed), shownAs: transaction.type };
};
await send("legacy", await wallet.writeContract({ ...buy(1n, 1n, "legacy"), type: "legacy" }));
const accessList = [{ address: till, storageKeys: ["0x" + "00".repeat(32)] }];
await send("accessList", await wallet.writeContract({ ...buy(1n, 2n, "access list"), type: "eip2930", accessList }));
const estimate = await reader.estimateContractGas({ ...buy(2n, 3n, "dynamic fee"), account });
await send("dynamicFee", await wallet.writeContract({ ...buy(2n, 3n, "dynamic fee"), type: "eip1559", gas: estimate }));
const authorization = await wallet.signAuthorization({ contractAddress: errands, executor: "self" });
const inner = encodeFunctionData(buy(3n, 4n, "set code"));
const run = encodeFunctionData({ abi: job.contracts.Errands.abi, functionName: "run", args: [[{ to: shop, value: 5n, data: inner }]] });
await send("setCode", await wallet.sendTransaction({ to: account.address, data: run, authorizationList: [authorization] }));

for (let waited = 0; told.length < 4 && waited < 200; waited++) await new Promise((resolve) => setTimeout(resolve, 50));
stop();

const failure = async (call) => {
  try {
    await reader.simulateContract({ ...call, account });
  } catch (error) {
    const { data, reason } = error.walk((inner) => inner instanceof ContractFunctionRevertedError);
    return { name: data.errorName, args: data.args.map(String), reason: reason ?? null };
  }
  throw new Error("did not revert");
};
const block = await reader.getBlock();
const proof = await reader.getProof({ address: shop, storageKeys: ["0x" + "01".padStart(64, "0")], blockNumber: block.number });
const logs = {
  filter: await reader.getFilterChanges({ filter }),
  subscription: told,
  range: await reader.getContractEvents({ ...sold, fromBlock: first, toBlock: block.number }),
};
process.stdout.write(
  JSON.stringify({
    contracts: { till, shop, errands },
    sent,
    estimate: Number(estimate),
    logs: Object.fromEntries(Object.entries(logs).map(([way, of]) => [way, of.map((log) => [log.transactionHash, log.args.customer, Number(log.args.item), Number(log.args.count), log.args.note])])),
    custom: await failure(buy(1n, 1000n, "")),
    words: await failure(buy(1n, 0n, "")),
    panic: await failure({ ...atShop, functionName: "share", args: [0n] }),
    delegation: await reader.getCode({ address: account.address }),
    trace: await reader.request({ method: "debug_traceTransaction", params: [sent.dynamicFee.hash, { tracer: "callTracer" }] }),
    proven: await proven(block.stateRoot, proof),
  }) + "\n",
);
process.exit(0);
