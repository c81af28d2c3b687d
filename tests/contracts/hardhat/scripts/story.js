// The shop's story with Hardhat: Ignition deploys, Hardhat's wallet signs, viem reads; prints a JSON report as the last line.
import { network } from "hardhat";
import { ContractFunctionRevertedError, createWalletClient, custom, encodeFunctionData } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import ShopModule from "../ignition/Shop.js";

const { ignition, viem, provider } = await network.create();
const reader = await viem.getPublicClient({ pollingInterval: 50 });
const [wallet] = await viem.getWalletClients();
const account = privateKeyToAccount(process.env.SHOP_KEY);
const { till, shop, errands } = await ignition.deploy(ShopModule);

const first = await reader.getBlockNumber();
const filter = await reader.createContractEventFilter({ address: shop.address, abi: shop.abi, eventName: "Sold" });
const sent = {};
const send = async (kind, hash) => {
  const receipt = await reader.waitForTransactionReceipt({ hash });
  if (receipt.status !== "success") throw new Error(`reverted: ${hash}`);
  const { typeHex } = await reader.getTransaction({ hash });
  sent[kind] = { hash, type: typeHex, gasUsed: Number(receipt.gasUsed) };
};
const value = 10n;
await send("legacy", await shop.write.buy([1n, 1n, "legacy"], { value, gasPrice: await reader.getGasPrice() }));
const accessList = [{ address: till.address, storageKeys: ["0x" + "00".repeat(32)] }];
await send("accessList", await shop.write.buy([1n, 2n, "access list"], { value, accessList, gasPrice: await reader.getGasPrice() }));
const estimate = await shop.estimateGas.buy([2n, 3n, "dynamic fee"], { value });
await send("dynamicFee", await shop.write.buy([2n, 3n, "dynamic fee"], { value, gas: estimate }));
// Hardhat's wallet signs no authorizations, so the key signs itself; it still goes through Hardhat's provider.
const direct = createWalletClient({ account, chain: wallet.chain, transport: custom(provider) });
const authorization = await direct.signAuthorization({ contractAddress: errands.address, executor: "self" });
const inner = encodeFunctionData({ abi: shop.abi, functionName: "buy", args: [3n, 4n, "set code"] });
const data = encodeFunctionData({ abi: errands.abi, functionName: "run", args: [[{ to: shop.address, value: 5n, data: inner }]] });
await send("setCode", await direct.sendTransaction({ to: account.address, data, authorizationList: [authorization] }));

const failure = async (call) => {
  try {
    await call;
  } catch (error) {
    const { data } = error.walk((inner) => inner instanceof ContractFunctionRevertedError);
    return { name: data.errorName, args: data.args.map(String) };
  }
  throw new Error("did not revert");
};
const block = await reader.getBlock();
const proof = await provider.request({ method: "eth_getProof", params: [shop.address, ["0x1"], "0x" + block.number.toString(16)] });
const read = (logs) => logs.map(({ transactionHash, args }) => [transactionHash, args.customer, Number(args.item), Number(args.count), args.note]);
const report = {
  contracts: { till: till.address, shop: shop.address, errands: errands.address },
  sent,
  estimate: Number(estimate),
  logs: { filter: read(await reader.getFilterChanges({ filter })), range: read(await shop.getEvents.Sold({}, { fromBlock: first })) },
  custom: await failure(shop.simulate.buy([1n, 1000n, ""])),
  words: await failure(shop.simulate.buy([1n, 0n, ""])),
  panic: await failure(shop.read.share([0n])),
  delegation: await reader.getCode({ address: account.address }),
  trace: await provider.request({ method: "debug_traceTransaction", params: [sent.dynamicFee.hash, { tracer: "callTracer" }] }),
  proof: { stateRoot: block.stateRoot, proof },
};
process.stdout.write(JSON.stringify(report) + "\n");
