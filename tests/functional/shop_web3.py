"""The shop's story with web3.py: deploy, send each transaction type, watch, revert; a JSON job in, a JSON report out.

Run as a script, so that it runs with whichever web3.py the interpreter has: 8 in this environment, 7 in one of its own.
"""

import asyncio
import json
import sys
from importlib.metadata import version
from typing import Any

from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import ContractCustomError, ContractLogicError, ContractPanicError
from web3.logs import DISCARD

VALUE = 10


class Story:
    """One account, its shop, and what came of it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.web3 = Web3(Web3.HTTPProvider(job["url"]))
        self.account = self.web3.eth.account.from_key(job["key"])
        self.report: dict[str, Any] = {"software": f"web3.py {version('web3')}", "sent": {}}

    def wait(self, signed: Any) -> Any:
        """Send a signed transaction and return its receipt."""
        sent = self.web3.eth.send_raw_transaction(signed.raw_transaction)
        receipt = self.web3.eth.wait_for_transaction_receipt(sent, timeout=30, poll_latency=0.05)
        assert receipt["status"] == 1, receipt
        return receipt

    def do(self, call: Any, **fields: Any) -> Any:
        """Build a contract's transaction as a script would, send it, and return its receipt."""
        nonce = self.web3.eth.get_transaction_count(self.account.address, "pending")
        built = call.build_transaction({"from": self.account.address, "nonce": nonce, **fields})
        return self.wait(self.account.sign_transaction(built))

    def deploy(self, name: str, *arguments: Any) -> Any:
        """Deploy a contract of the project."""
        made = self.job["contracts"][name]
        factory = self.web3.eth.contract(abi=made["abi"], bytecode=made["bytecode"])
        address = self.do(factory.constructor(*arguments))["contractAddress"]
        return self.web3.eth.contract(address, abi=made["abi"])

    def note(self, kind: str, receipt: Any) -> None:
        """Write down what the client shows of a transaction."""
        transaction = self.web3.eth.get_transaction(receipt["transactionHash"])
        self.report["sent"][kind] = {
            "hash": receipt["transactionHash"].to_0x_hex(),
            "type": hex(transaction["type"]),
            "gasUsed": receipt["gasUsed"],
            "shownAs": receipt["type"],
        }

    def send_each_type(self, till: Any, shop: Any, errands: Any) -> None:
        """Send the same purchase as each transaction type."""
        buy = shop.functions.buy
        price = {"value": VALUE, "gasPrice": self.web3.eth.gas_price}
        self.note("legacy", self.do(buy(1, 1, "legacy"), **price))
        listed = [{"address": till.address, "storageKeys": ["0x" + "00" * 32]}]
        self.note("accessList", self.do(buy(1, 2, "access list"), **price, accessList=listed, type=1))
        who = {"from": self.account.address, "value": VALUE}
        self.report["estimate"] = buy(2, 3, "dynamic fee").estimate_gas(who)
        self.note("dynamicFee", self.do(buy(2, 3, "dynamic fee"), value=VALUE, gas=self.report["estimate"]))
        nonce = self.web3.eth.get_transaction_count(self.account.address)
        authorization = self.account.sign_authorization(
            {"chainId": self.job["chainId"], "address": errands.address, "nonce": nonce + 1}
        )
        inner = shop.encode_abi("buy", [3, 4, "set code"])
        transaction = {
            "chainId": self.job["chainId"],
            "to": self.account.address,
            "nonce": nonce,
            "gas": 300_000,
            "maxFeePerGas": 2 * self.web3.eth.gas_price,
            "maxPriorityFeePerGas": self.web3.eth.max_priority_fee,
            "data": errands.encode_abi("run", [[(shop.address, 5, inner)]]),
            "authorizationList": [authorization],
        }
        self.note("setCode", self.wait(self.account.sign_transaction(transaction)))

    def failures(self, shop: Any) -> None:
        """Call what reverts, and write down how it was understood."""
        try:
            shop.functions.buy(1, 1_000, "").call()
        except ContractCustomError as error:
            self.report["custom"] = decoded(shop, error)
        try:
            shop.functions.buy(1, 0, "").call()
        except ContractLogicError as error:
            self.report["words"] = {"name": "Error", "args": [error.message.partition(": ")[2]]}
        try:
            shop.functions.share(0).call()
        except ContractPanicError as error:
            self.report["panic"] = {"name": "Panic", "args": [str(int(error.data[-64:], 16))]}

    def prove(self, shop: Any) -> None:
        """Fetch a proof of what was sold, and the state root to hold it against."""
        block = self.web3.eth.get_block("latest")
        proof = self.web3.eth.get_proof(shop.address, [1], block["number"])
        self.report["proof"] = {"stateRoot": block["stateRoot"], "proof": proof}

    def trace(self, sent: str) -> dict[str, Any]:
        """Trace a transaction with both families of methods, which must tell the same calls."""
        traced = self.web3.geth.debug.trace_transaction(sent, {"tracer": "callTracer"})
        outer, inner = self.web3.tracing.trace_transaction(sent)
        assert outer["action"]["to"].lower() == traced["to"].lower()
        assert inner["action"]["to"].lower() == traced["calls"][0]["to"].lower()
        return framed(traced)

    async def run(self) -> dict[str, Any]:
        """Tell the story in order."""
        till = self.deploy("Till")
        shop = self.deploy("Shop", till.address, 9, 100)
        errands = self.deploy("Errands")
        self.do(till.functions.choose(shop.address))
        self.report["contracts"] = {"till": till.address, "shop": shop.address, "errands": errands.address}

        first = self.web3.eth.block_number
        sold = shop.events.Sold
        watch = sold.create_filter(from_block="latest")
        async with AsyncWeb3(WebSocketProvider(self.job["url"].replace("http", "ws"))) as listening:
            await listening.eth.subscribe("logs", {"address": shop.address})
            await asyncio.to_thread(self.send_each_type, till, shop, errands)
            told = []
            async with asyncio.timeout(20):
                async for message in listening.socket.process_subscriptions():
                    told.append(sold().process_log(message["result"]))
                    if len(told) == 4:
                        break
        receipt = self.web3.eth.get_transaction_receipt(self.report["sent"]["legacy"]["hash"])
        assert len(sold().process_receipt(receipt, errors=DISCARD)) == 1
        self.report["logs"] = {
            "filter": [plain(log) for log in watch.get_new_entries()],
            "subscription": [plain(log) for log in told],
            "range": [plain(log) for log in sold.get_logs(from_block=first)],
        }
        self.failures(shop)
        self.prove(shop)
        self.report["delegation"] = self.web3.eth.get_code(self.account.address).to_0x_hex()
        sent = self.report["sent"]["dynamicFee"]["hash"]
        self.report["trace"] = self.trace(sent)
        return self.report


def decoded(contract: Any, error: ContractCustomError) -> dict[str, Any]:
    """Return a custom error's name and arguments: web3.py gives its data, the contract's interface says the rest."""
    data = bytes.fromhex(error.data[2:])
    for entry in contract.abi:
        types = [argument["type"] for argument in entry.get("inputs", [])]
        signature = f"{entry.get('name')}({','.join(types)})"
        if entry["type"] == "error" and Web3.keccak(text=signature)[:4] == data[:4]:
            values = contract.w3.codec.decode(types, data[4:])
            return {"name": entry["name"], "args": [str(value) for value in values]}
    raise LookupError(error.data)


def framed(frame: Any) -> dict[str, Any]:
    """Return a frame of a call tree as the node wrote it, before web3.py made integers and checksums of it."""
    value = frame.get("value", "0x0")
    return {
        "type": frame["type"],
        "from": frame["from"].lower(),
        "to": frame["to"].lower(),
        "value": value if isinstance(value, str) else hex(value),
        "calls": [framed(inner) for inner in frame.get("calls", [])],
    }


def plain(log: Any) -> list[Any]:
    """Return what a log says, as every client's report writes it."""
    said = log["args"]
    return [log["transactionHash"].to_0x_hex(), said["customer"], said["item"], said["count"], said["note"]]


if __name__ == "__main__":
    sys.stdout.write(Web3.to_json(asyncio.run(Story(json.load(sys.stdin)).run())) + "\n")
