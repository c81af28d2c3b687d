// The lock, with answers that a node's model really gave: see test/answers.json.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { artifacts, network } from "hardhat";

const PRECOMPILE = "0x0000000000000000000000000000000000100000";
const UNAVAILABLE = 3;
const answers = JSON.parse(readFileSync(new URL("answers.json", import.meta.url), "utf8"));
const [seven, zero] = answers;

describe("DigitLock", () => {
  let viem, lock, recorded;

  // Puts the recorded answers where the precompile is on a BitAI chain.
  before(async () => {
    ({ viem } = await network.create());
    const { deployedBytecode } = await artifacts.readArtifact("RecordedAnswers");
    await (await viem.getTestClient()).setCode({ address: PRECOMPILE, bytecode: deployedBytecode });
    recorded = await viem.getContractAt("RecordedAnswers", PRECOMPILE);
    for (const { modelId, input, params, maxOutput, status, output } of answers) {
      await recorded.write.record([modelId, input, params, maxOutput, status, output]);
    }
    lock = await viem.deployContract("DigitLock", [seven.modelId, 7, 20_000]);
  });

  it("stays shut for another digit", async () => {
    await assert.rejects(lock.write.open([zero.input]), /WrongDigit/);
  });

  it("stays shut when the model is unavailable", async () => {
    const image = "0x" + "00".repeat(64);
    await recorded.write.record([seven.modelId, image, "0x", 21, UNAVAILABLE, "0x"]);
    await assert.rejects(lock.write.open([image]), /NoAnswer/);
  });

  it("opens for the right digit", async () => {
    await lock.write.open([seven.input]);
    const [wallet] = await viem.getWalletClients();
    assert.equal((await lock.read.openedBy()).toLowerCase(), wallet.account.address);
  });
});
