// Watches blocks and logs with viem, over HTTP filters and over WebSocket, while it sends; reads a JSON job, prints a JSON report.
import { readFileSync } from "node:fs";
import { createPublicClient, createWalletClient, defineChain, http, webSocket } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const job = JSON.parse(readFileSync(0, "utf8"));
const chain = defineChain({
  id: job.chainId,
  name: "BitAI",
  nativeCurrency: { name: "Bitcoin", symbol: "BTC", decimals: 18 },
  rpcUrls: { default: { http: [job.url] } },
});
const account = privateKeyToAccount(job.key);
const polling = createPublicClient({ chain, transport: http(job.url), pollingInterval: 50 });
const socket = createPublicClient({ chain, transport: webSocket(job.url.replace("http", "ws")) });
const wallet = createWalletClient({ chain, transport: http(job.url), account });

const seen = { httpLogs: [], wsLogs: [], wsBlocks: [], httpBlocks: [] };
const errors = [];
const onError = (error) => errors.push(error.message);
const watched = { abi: job.abi, address: job.address, eventName: "DigitRead", onError };
const stops = [
  polling.watchContractEvent({ ...watched, onLogs: (logs) => seen.httpLogs.push(...logs) }),
  socket.watchContractEvent({ ...watched, onLogs: (logs) => seen.wsLogs.push(...logs) }),
  socket.watchBlocks({ onBlock: (block) => seen.wsBlocks.push(Number(block.number)), onError }),
  polling.watchBlockNumber({ onBlockNumber: (number) => seen.httpBlocks.push(Number(number)), onError }),
];
await new Promise((resolve) => setTimeout(resolve, 500));

const blocks = [];
for (const question of job.questions) {
  const hash = await wallet.writeContract({
    address: job.address,
    abi: job.abi,
    functionName: "read",
    args: [question.modelId, question.image],
  });
  const receipt = await socket.waitForTransactionReceipt({ hash });
  if (receipt.status !== "success") throw new Error(`reverted: ${hash}`);
  blocks.push(Number(receipt.blockNumber));
}
const wanted = job.questions.length;
for (let waited = 0; waited < 100; waited++) {
  if (seen.httpLogs.length >= wanted && seen.wsLogs.length >= wanted && seen.wsBlocks.length >= wanted) break;
  await new Promise((resolve) => setTimeout(resolve, 50));
}
for (const stop of stops) stop();

let revert = null;
try {
  await polling.simulateContract({ address: job.address, abi: job.abi, functionName: "reading", args: [9_999n] });
} catch (error) {
  revert = error.name;
}
const fees = await polling.estimateFeesPerGas();
const synced = await wallet.sendRawTransactionSync({
  serializedTransaction: await wallet.signTransaction(
    await wallet.prepareTransactionRequest({ to: account.address, value: 1n, gas: 21_000n }),
  ),
});
process.stdout.write(
  JSON.stringify({
    blocks,
    httpLogs: seen.httpLogs.map((log) => log.transactionHash),
    wsLogs: seen.wsLogs.map((log) => log.transactionHash),
    wsBlocks: seen.wsBlocks,
    httpBlocks: seen.httpBlocks,
    pending: Number((await polling.getBlock({ blockTag: "pending" })).baseFeePerGas > 0n),
    fees: Number(fees.maxFeePerGas),
    syncStatus: synced.status,
    revert,
    errors,
  }) + "\n",
);
process.exit(0);
