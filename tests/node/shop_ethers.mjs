// The shop's story with ethers: deploy, send each transaction type, watch, revert, prove; a JSON job in, a JSON report out.
import { readFileSync } from "node:fs";
import { Contract, ContractFactory, Interface, JsonRpcProvider, Network, Wallet, WebSocketProvider } from "ethers";
import { proven } from "./proof.mjs";

const job = JSON.parse(readFileSync(0, "utf8"));
const network = Network.from(job.chainId);
const provider = new JsonRpcProvider(job.url, network, { staticNetwork: network, pollingInterval: 50, cacheTimeout: -1 });
const socket = new WebSocketProvider(job.url.replace("http", "ws"), network, { staticNetwork: network });
const wallet = new Wallet(job.key, provider);

const deploy = async (name, args = []) => {
  const contract = await new ContractFactory(job.contracts[name].abi, job.contracts[name].bytecode, wallet).deploy(...args);
  return contract.waitForDeployment();
};
const till = await deploy("Till");
const shop = await deploy("Shop", [await till.getAddress(), 9, 100]);
const errands = await deploy("Errands");
const address = await shop.getAddress();
await (await till.choose(address)).wait();

const first = await provider.getBlockNumber();
const topics = await shop.filters.Sold().getTopicFilter();
const filter = await provider.send("eth_newFilter", [{ address, topics }]);
const told = [];
await new Contract(address, job.contracts.Shop.abi, socket).on("Sold", (...args) => told.push(args.at(-1).log));
await socket.send("eth_blockNumber", []); // behind the subscription, on the same connection

const sent = {};
const send = async (kind, response) => {
  const receipt = await response.wait();
  if (receipt.status !== 1) throw new Error(`reverted: ${receipt.hash}`);
  const transaction = await provider.getTransaction(receipt.hash);
  sent[kind] = { hash: receipt.hash, type: "0x" + transaction.type.toString(16), gasUsed: Number(receipt.gasUsed), shownAs: transaction.type };
};
const value = 10n;
await send("legacy", await shop.buy(1, 1, "legacy", { value, type: 0 }));
const accessList = [{ address: await till.getAddress(), storageKeys: ["0x" + "00".repeat(32)] }];
await send("accessList", await shop.buy(1, 2, "access list", { value, type: 1, accessList }));
const estimate = await shop.buy.estimateGas(2, 3, "dynamic fee", { value });
await send("dynamicFee", await shop.buy(2, 3, "dynamic fee", { value, type: 2, gasLimit: estimate }));
const nonce = (await wallet.getNonce()) + 1; // the account's own transaction comes first
const authorization = await wallet.authorize({ address: await errands.getAddress(), nonce });
const inner = shop.interface.encodeFunctionData("buy", [3, 4, "set code"]);
const data = errands.interface.encodeFunctionData("run", [[{ to: address, value: 5n, data: inner }]]);
await send("setCode", await wallet.sendTransaction({ type: 4, to: wallet.address, data, authorizationList: [authorization] }));

for (let waited = 0; told.length < 4 && waited < 200; waited++) await new Promise((resolve) => setTimeout(resolve, 50));

const failure = async (method, ...args) => {
  try {
    await method.staticCall(...args);
  } catch (error) {
    if (error.code !== "CALL_EXCEPTION") throw error;
    return { name: error.revert.name, args: error.revert.args.map(String), reason: error.reason };
  }
  throw new Error("did not revert");
};
const block = await provider.getBlock("latest");
const slot = "0x" + "01".padStart(64, "0");
const proof = await provider.send("eth_getProof", [address, [slot], "0x" + block.number.toString(16)]);
const read = (logs) =>
  logs.map((log) => {
    const { args } = new Interface(job.contracts.Shop.abi).parseLog(log);
    return [log.transactionHash, args.customer, Number(args.item), Number(args.count), args.note];
  });
process.stdout.write(
  JSON.stringify({
    contracts: { till: await till.getAddress(), shop: address, errands: await errands.getAddress() },
    sent,
    estimate: Number(estimate),
    logs: {
      filter: read(await provider.send("eth_getFilterChanges", [filter])),
      subscription: read(told),
      range: read(await shop.queryFilter("Sold", first, block.number)),
    },
    custom: await failure(shop.buy, 1, 1000, ""),
    words: await failure(shop.buy, 1, 0, ""),
    panic: await failure(shop.share, 0),
    delegation: await provider.getCode(wallet.address),
    trace: await provider.send("debug_traceTransaction", [sent.dynamicFee.hash, { tracer: "callTracer" }]),
    proven: await proven(block.stateRoot, proof),
  }) + "\n",
);
process.exit(0);
