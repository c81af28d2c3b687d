// Deploys DigitReader with ethers and asks it images; reads a JSON job on standard input, prints a JSON report.
import { readFileSync } from "node:fs";
import { ContractFactory, JsonRpcProvider, NonceManager, Wallet } from "ethers";

const job = JSON.parse(readFileSync(0, "utf8"));
const provider = new JsonRpcProvider(job.url, job.chainId, { pollingInterval: 200, staticNetwork: true });
const signer = new NonceManager(new Wallet(job.key, provider));

const factory = new ContractFactory(job.abi, job.bytecode, signer);
const contract = await factory.deploy();
await contract.waitForDeployment();

const answers = [];
for (const question of job.questions) {
  const overrides = question.gas ? { gasLimit: BigInt(question.gas) } : {};
  const sent = await contract.read(question.modelId, question.image, overrides);
  const receipt = await sent.wait(1, 60_000);
  const event = receipt.logs.map((log) => contract.interface.parseLog(log)).find((log) => log?.name === "DigitRead");
  answers.push({
    digit: event ? Number(event.args.digit) : null,
    confidence: event ? Number(event.args.confidence) : null,
    status: receipt.status === 1 ? "success" : "reverted",
    hash: receipt.hash,
    block: receipt.blockNumber,
    gasUsed: Number(receipt.gasUsed),
  });
}
const stored = await contract.readingCount();
const events = await contract.queryFilter(contract.filters.DigitRead(), 0, "latest");
process.stdout.write(
  JSON.stringify({
    address: await contract.getAddress(),
    answers,
    stored: Number(stored),
    events: events.length,
  }) + "\n",
);
provider.destroy();
