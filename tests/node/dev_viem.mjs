// viem's test client against a development node, in its mode for anvil or for Hardhat: each step checks itself.
import { readFileSync } from 'node:fs'
import assert from 'node:assert/strict'
import { createTestClient, http, publicActions, walletActions, defineChain, parseEther, pad, toHex } from 'viem'

const job = JSON.parse(readFileSync(0, 'utf8'))
const chain = defineChain({
  id: job.chainId,
  name: 'dev',
  nativeCurrency: { name: 'Bitcoin', symbol: 'BTC', decimals: 18 },
  rpcUrls: { default: { http: [job.url] } },
})
const client = createTestClient({ chain, mode: job.mode, transport: http(), pollingInterval: 50 })
  .extend(publicActions)
  .extend(walletActions)
const somebody = '0x00000000000000000000000000000000000000aa'
const [alice, bob] = await client.getAddresses()
const report = { passed: 0, failed: [] }

async function step(name, run) {
  try {
    await run()
    report.passed += 1
  } catch (error) {
    report.failed.push(`${name}: ${String(error).slice(0, 400)}`)
  }
}

const latest = () => client.getBlock()
const number = () => client.getBlockNumber({ cacheTime: 0 })
let id

await step('snapshot', async () => { id = await client.snapshot(); assert.match(id, /^0x/) })
await step('setBalance', async () => {
  await client.setBalance({ address: somebody, value: parseEther('5') })
  assert.equal(await client.getBalance({ address: somebody }), parseEther('5'))
})
await step('setNonce', async () => {
  await client.setNonce({ address: somebody, nonce: 42 })
  assert.equal(await client.getTransactionCount({ address: somebody }), 42)
})
await step('setCode', async () => {
  await client.setCode({ address: bob, bytecode: '0x6001' })
  assert.equal(await client.getCode({ address: bob }), '0x6001')
})
await step('setStorageAt', async () => {
  await client.setStorageAt({ address: bob, index: 3, value: pad(toHex(9)) })
  assert.equal(BigInt(await client.getStorageAt({ address: bob, slot: '0x3' })), 9n)
})
await step('mine', async () => {
  const before = await number()
  await client.mine({ blocks: 3 })
  assert.equal(await number(), before + 3n)
})
await step('mine with an interval', async () => {
  const before = await latest()
  await client.mine({ blocks: 3, interval: 60 })
  assert.ok((await latest()).timestamp >= before.timestamp + 120n)
})
await step('increaseTime', async () => {
  const before = await latest()
  await client.increaseTime({ seconds: 420 })
  await client.mine({ blocks: 1 })
  assert.ok((await latest()).timestamp >= before.timestamp + 420n)
})
await step('setNextBlockTimestamp', async () => {
  const at = (await latest()).timestamp + 1000n
  await client.setNextBlockTimestamp({ timestamp: at })
  await client.mine({ blocks: 1 })
  assert.equal((await latest()).timestamp, at)
})
await step('setNextBlockBaseFeePerGas', async () => {
  await client.setNextBlockBaseFeePerGas({ baseFeePerGas: 1234567n })
  await client.mine({ blocks: 1 })
  assert.equal((await latest()).baseFeePerGas, 1234567n)
})
await step('setBlockGasLimit', async () => {
  await client.setBlockGasLimit({ gasLimit: 20_000_000n })
  await client.mine({ blocks: 1 })
  assert.equal((await latest()).gasLimit, 20_000_000n)
})
await step('setCoinbase', async () => {
  await client.setCoinbase({ address: somebody })
  await client.mine({ blocks: 1 })
  assert.equal((await latest()).miner, somebody)
})
await step('impersonateAccount', async () => {
  await client.impersonateAccount({ address: somebody })
  const hash = await client.sendTransaction({ account: somebody, to: alice, value: 1n })
  const receipt = await client.waitForTransactionReceipt({ hash })
  assert.deepEqual([receipt.from, receipt.status], [somebody, 'success'])
})
await step('stopImpersonatingAccount', async () => {
  await client.stopImpersonatingAccount({ address: somebody })
  await assert.rejects(client.sendTransaction({ account: somebody, to: alice, value: 1n }), /No Signer/)
})
await step('sendTransaction from a dev account', async () => {
  const hash = await client.sendTransaction({ account: alice, to: somebody, value: 7n })
  assert.equal((await client.waitForTransactionReceipt({ hash })).status, 'success')
})
await step('signMessage', async () => {
  const signature = await client.signMessage({ account: alice, message: 'hello' })
  assert.ok(await client.verifyMessage({ address: alice, message: 'hello', signature }))
})
await step('signTypedData', async () => {
  const typed = {
    domain: { name: 'Post', chainId: job.chainId },
    types: { Mail: [{ name: 'to', type: 'address[]' }, { name: 'words', type: 'string' }] },
    primaryType: 'Mail',
    message: { to: [alice, bob], words: 'hello' },
  }
  const signature = await client.signTypedData({ account: alice, ...typed })
  assert.ok(await client.verifyTypedData({ address: alice, signature, ...typed }))
})
await step('setAutomine and getAutomine', async () => {
  await client.setAutomine(false)
  assert.equal(await client.getAutomine(), false)
  const before = await number()
  const hash = await client.sendTransaction({ account: alice, to: somebody, value: 1n })
  assert.equal(await number(), before)
  await client.dropTransaction({ hash })
  await client.mine({ blocks: 1 })
  assert.equal((await latest()).transactions.length, 0)
  await client.setAutomine(true)
  assert.equal(await client.getAutomine(), true)
})
// In its mode for Hardhat viem counts milliseconds; a node that answers to both names can only mean one of them.
if (job.mode === 'anvil') await step('setIntervalMining', async () => {
  const before = await number()
  await client.setIntervalMining({ interval: 1 })
  while ((await number()) < before + 2n) await new Promise((done) => setTimeout(done, 100))
  await client.setIntervalMining({ interval: 0 })
  await client.setAutomine(true)
})
await step('getTxpoolStatus', async () => assert.deepEqual(Object.keys(await client.getTxpoolStatus()), ['pending', 'queued']))
if (job.mode === 'anvil') {
  await step('dumpState and loadState', async () => {
    const state = await client.dumpState()
    await client.setBalance({ address: somebody, value: 1n })
    await client.loadState({ state })
    assert.ok((await client.getBalance({ address: somebody })) > 1n)
  })
  await step('setBlockTimestampInterval', async () => {
    await client.setBlockTimestampInterval({ interval: 5 })
    const before = await latest()
    await client.mine({ blocks: 1 })
    assert.equal((await latest()).timestamp, before.timestamp + 5n)
    await client.removeBlockTimestampInterval()
  })
}
await step('revert', async () => {
  await client.revert({ id })
  assert.equal(await client.getBalance({ address: somebody }), 0n)
  assert.equal(await client.getCode({ address: bob }), undefined)
})
await step('reset', async () => { await client.reset() })
console.log(JSON.stringify(report))
