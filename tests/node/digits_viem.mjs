// Deploys DigitReader with viem and asks it images; reads a JSON job on standard input, prints a JSON report.
import { readFileSync } from "node:fs";
import { createPublicClient, createWalletClient, defineChain, http, parseEventLogs } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const job = JSON.parse(readFileSync(0, "utf8"));
const chain = defineChain({
  id: job.chainId,
  name: "BitAI",
  nativeCurrency: { name: "Bitcoin", symbol: "BTC", decimals: 18 },
  rpcUrls: { default: { http: [job.url] } },
});
const account = privateKeyToAccount(job.key);
const transport = http(job.url, { timeout: 60_000 });
const reader = createPublicClient({ chain, transport, pollingInterval: 200 });
const wallet = createWalletClient({ chain, transport, account });

const deployment = await wallet.deployContract({ abi: job.abi, bytecode: job.bytecode });
const { contractAddress, status } = await reader.waitForTransactionReceipt({ hash: deployment });
if (status !== "success") throw new Error("deployment failed");

const answers = [];
for (const question of job.questions) {
  const hash = await wallet.writeContract({
    address: contractAddress,
    abi: job.abi,
    functionName: "read",
    args: [question.modelId, question.image],
    ...(question.gas ? { gas: BigInt(question.gas) } : {}),
  });
  const receipt = await reader.waitForTransactionReceipt({ hash, timeout: 60_000 });
  const [event] = parseEventLogs({ abi: job.abi, logs: receipt.logs, eventName: "DigitRead" });
  answers.push({
    digit: event ? Number(event.args.digit) : null,
    confidence: event ? Number(event.args.confidence) : null,
    status: receipt.status,
    hash,
    block: Number(receipt.blockNumber),
    gasUsed: Number(receipt.gasUsed),
  });
}
const stored = await reader.readContract({ address: contractAddress, abi: job.abi, functionName: "readingCount" });
const logs = await reader.getContractEvents({
  address: contractAddress,
  abi: job.abi,
  eventName: "DigitRead",
  fromBlock: 0n,
  toBlock: "latest",
});
process.stdout.write(
  JSON.stringify({ address: contractAddress, answers, stored: Number(stored), events: logs.length }) + "\n",
);
