// Opens the lock that Ignition deployed, with the image of a seven from the tests; prints what the model saw.
import { readFileSync } from "node:fs";
import { network } from "hardhat";

const { viem } = await network.create();
const reader = await viem.getPublicClient();
const deployed = `ignition/deployments/chain-${await reader.getChainId()}/deployed_addresses.json`;
const lock = await viem.getContractAt("DigitLock", JSON.parse(readFileSync(deployed, "utf8"))["DigitLockModule#DigitLock"]);
const [{ input: seven }] = JSON.parse(readFileSync("test/answers.json", "utf8"));

const hash = await lock.write.open([seven]);
const { gasUsed } = await reader.waitForTransactionReceipt({ hash });
const [opened] = await lock.getEvents.Opened();
console.log(`opened by ${await lock.read.openedBy()} with probability ${opened.args.probability} of 32768, for ${gasUsed} gas`);
