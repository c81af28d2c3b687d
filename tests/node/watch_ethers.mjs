// Watches blocks and logs with ethers, by polling and over WebSocket, while it sends; reads a JSON job, prints a JSON report.
import { readFileSync } from "node:fs";
import { Contract, JsonRpcProvider, NonceManager, Wallet, WebSocketProvider } from "ethers";

const job = JSON.parse(readFileSync(0, "utf8"));
const polling = new JsonRpcProvider(job.url, job.chainId, { pollingInterval: 50, staticNetwork: true });
const socket = new WebSocketProvider(job.url.replace("http", "ws"), job.chainId);
const signer = new NonceManager(new Wallet(job.key, polling));

const seen = { httpLogs: [], wsLogs: [], wsBlocks: [], httpBlocks: [], wsPending: [], sent: [] };
const contracts = [new Contract(job.address, job.abi, polling), new Contract(job.address, job.abi, socket)];
await contracts[0].on("DigitRead", (...values) => seen.httpLogs.push(values.at(-1).log.transactionHash));
await contracts[1].on("DigitRead", (...values) => seen.wsLogs.push(values.at(-1).log.transactionHash));
await socket.on("pending", (hash) => seen.wsPending.push(hash));
await socket.on("block", (number) => seen.wsBlocks.push(number));
await polling.on("block", (number) => seen.httpBlocks.push(number));
await new Promise((resolve) => setTimeout(resolve, 500));

const contract = contracts[0].connect(signer);
const blocks = [];
for (const question of job.questions) {
  const sent = await contract.read(question.modelId, question.image);
  seen.sent.push(sent.hash);
  const receipt = await sent.wait(1, 30_000);
  blocks.push(receipt.blockNumber);
}
const wanted = job.questions.length;
for (let waited = 0; waited < 100; waited++) {
  if (seen.httpLogs.length >= wanted && seen.wsLogs.length >= wanted && seen.wsBlocks.length >= wanted) break;
  await new Promise((resolve) => setTimeout(resolve, 50));
}
let revert = null;
try {
  await contracts[0].reading(9_999n);
} catch (error) {
  revert = error.code;
}
let unsupported = null;
try {
  await polling.send("eth_coinbase", []);
} catch (error) {
  unsupported = error.code;
}
const fees = await polling.getFeeData();
process.stdout.write(
  JSON.stringify({ blocks, ...seen, fees: Number(fees.maxFeePerGas), revert, unsupported }) + "\n",
);
process.exit(0);
