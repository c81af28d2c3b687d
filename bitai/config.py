"""The settings of this machine's node: flag, then environment, then file, then default, each with its origin.

`NodeConfig` never holds a rule of the chain: those are RollupConfig, whose hash names the chain.
Secrets are named by file, so that no setting, log line or `config show` can leak one.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from bitai.datadir import CONFIG_FILE, DataDir, default_datadir
from primitives.errors import ConfigError

ENVIRONMENT_PREFIX = "BITAI_"

# Variables of ours that are no settings of a node: where tests find vectors and a Bitcoin, how hard they search,
# and which Python builds the checkout.
OTHER_VARIABLES = frozenset({"BITAI_VECTORS", "BITAI_TEST_PROFILE", "BITAI_TEST_BITCOIND", "BITAI_PYTHON"})

INSCRIBING = frozenset({"batch_codec", "fee_floor", "fee_cap", "fee_target_blocks"})
"""Settings of whoever posts batches."""

Port = Annotated[int, Field(ge=0, le=65_535)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
FeeRate = Annotated[int, Field(ge=100, le=100_000_000)]
Network = Literal["regtest", "signet", "testnet4", "mainnet"]


class NodeConfig(BaseSettings):
    """Settings of one node; a port of 0 means any free one. Unknown settings are errors."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENVIRONMENT_PREFIX, env_ignore_empty=True
    )

    network: Network = Field(default="regtest", description="The Bitcoin network underneath")
    role: Literal["dev", "sequencer", "full"] = Field(
        default="dev",
        description="dev: everything on this machine; sequencer: makes blocks; full: checks them",
    )
    datadir: Path = Field(
        default_factory=lambda data: default_datadir(data["network"]),
        description="Folder of chain and keys; by default ~/.local/share/bitai/<network>",
    )
    rollup_config: Path | None = Field(
        default=None, description="JSON file with the rules of the chain to follow"
    )

    l1_rpc: str | None = Field(
        default=None, description="URL of your own Bitcoin Core's RPC; without it regtest runs embedded"
    )
    l1_cookie: Path | None = Field(default=None, description="Bitcoin Core's cookie file")
    l1_user: str | None = Field(default=None, description="User name for Bitcoin Core's RPC")
    l1_password_file: Path | None = Field(default=None, description="File holding the password of --l1-user")
    l1_ca_file: Path | None = Field(
        default=None, description="Certificate that an https l1_rpc is checked by, instead of the system's"
    )
    l1_port: Port = Field(default=18_443, description="Port of the embedded Bitcoin's RPC")
    mine_interval: float = Field(
        default=5.0,
        ge=0,
        le=86_400,
        description="Seconds between embedded Bitcoin blocks; 0: only when asked",
    )

    batch_codec: Literal["if520", "drop255"] = Field(
        default="if520",
        description="Envelope to inscribe in; drop255 also passes nodes that limit data behind OP_IF",
    )
    fee_floor: FeeRate = Field(default=1_000, description="Least fee rate of inscriptions, sats per 1,000 vB")
    fee_cap: FeeRate = Field(
        default=200_000, description="Highest fee rate of inscriptions, sats per 1,000 vB; above it they wait"
    )
    fee_target_blocks: int = Field(
        default=2, ge=1, le=1_008, description="Blocks within which an inscription should be mined"
    )

    sequencer_url: str | None = Field(
        default=None,
        description="WebSocket URL of a sequencer that gives unsafe blocks and takes transactions",
    )
    block_time_mode: Literal["interval", "on-demand"] = Field(
        default="interval", description="L2 blocks every 2 s, or as soon as a transaction waits"
    )

    prune: int | None = Field(
        default=None,
        ge=0,
        le=2**53,
        description="Keep the state history of the last N blocks, and of those not final; by default all",
    )

    rpc_bind: str = Field(default="127.0.0.1", description="Address that JSON-RPC and web listen on")
    rpc_port: Port = Field(default=8545, description="JSON-RPC over HTTP and WebSocket")
    web_port: Port = Field(default=8550, description="Status and faucet page")
    neuron_port: Port = Field(default=8560, description="WebSocket that neurons connect to")
    metrics_port: Port = Field(default=9550, description="Health, metrics and administration; loopback only")

    rpc_log_blocks: Count = Field(default=10_000, description="Blocks that one eth_getLogs may walk")
    rpc_logs: Count = Field(default=10_000, description="Logs in one answer")
    rpc_call_gas: Count = Field(
        default=16_777_216, description="Gas of an eth_call at most: what a transaction may declare"
    )
    rpc_simulate_gas: Count = Field(
        default=50_000_000, description="Gas of all calls of an eth_simulateV1 together"
    )
    rpc_call_seconds: float = Field(default=30.0, gt=0, le=3_600, description="Time for one call")
    rpc_waiting_calls: Count = Field(default=512, description="Calls that may wait for a thread")
    rpc_fee_history_blocks: Count = Field(
        default=1_024, description="Blocks in one eth_feeHistory; with percentiles 128 at most"
    )
    rpc_proof_slots: Count = Field(default=1_024, description="Storage keys in one eth_getProof")
    rpc_filters: Count = Field(default=1_024, description="Filters kept for polling clients")
    rpc_filter_seconds: float = Field(
        default=300.0, gt=0, le=604_800, description="Time without a poll after which a filter ends"
    )
    rpc_subscriptions: Count = Field(default=64, description="Subscriptions on one WebSocket")
    rpc_sockets: Count = Field(default=256, description="WebSockets open at once")
    rpc_batch_calls: Count = Field(default=1_000, description="Calls in one array")

    neuron: bool = Field(default=True, description="Start a compute neuron beside the node (dev)")
    record_answers: Path | None = Field(
        default=None, description="File to write neurons' answers into, for --replay-answers (dev)"
    )
    replay_answers: Path | None = Field(
        default=None, description="File of recorded answers that stands in for the neuron (dev)"
    )
    demo: bool = Field(
        default=False, description="Ask the digit model a question once the node is ready (dev)"
    )
    console_log: bool = Field(
        default=True, description="Show in the log what contracts print with console.log (dev)"
    )
    json_logs: bool = Field(default=False, description="Log JSON lines instead of text")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is logged"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for broken, complaint in _contradictions(self):
            if broken:
                raise ValueError(complaint)
        return self

    @property
    def embedded_bitcoin(self) -> bool:
        """Whether this node starts a Bitcoin of its own."""
        return self.l1_rpc is None

    @property
    def cookie_path(self) -> Path:
        """Where Bitcoin Core's cookie is looked for; unnamed, where Core keeps it by default on this network."""
        if self.l1_cookie is not None:
            return self.l1_cookie.expanduser()
        return Path.home() / ".bitcoin" / ("" if self.network == "mainnet" else self.network) / ".cookie"

    @property
    def files(self) -> DataDir:
        """The layout of the data folder."""
        return DataDir(self.datadir.expanduser())


def _contradictions(config: NodeConfig) -> tuple[tuple[bool, str], ...]:
    """Every rule over more than one setting, with the sentence a person reads when it is broken."""
    ports = [config.rpc_port, config.web_port, config.neuron_port, config.metrics_port]
    ports += [config.l1_port] if config.embedded_bitcoin else []
    fixed = [port for port in ports if port]
    public = config.network != "regtest"
    return (
        (public and config.embedded_bitcoin, f"{config.network} needs your own Bitcoin Core: set l1_rpc"),
        (public and config.role == "dev", f"role dev is for regtest only, not for {config.network}"),
        (config.role == "full" and config.embedded_bitcoin, "role full follows a Bitcoin node: set l1_rpc"),
        (
            config.role == "full" and config.rollup_config is None,
            "role full needs rollup_config: which chain to follow",
        ),
        (
            public and config.rollup_config is None,
            f"{config.network} needs rollup_config: which chain to follow",
        ),
        (
            config.l1_rpc is not None and not _is_url(config.l1_rpc, "http", "https"),
            "l1_rpc is a URL such as http://127.0.0.1:8332",
        ),
        (
            config.l1_rpc is not None and "@" in config.l1_rpc,
            "l1_rpc holds no user and password, which logs would show: set l1_user and l1_password_file",
        ),
        (config.sequencer_url is not None and config.role != "full", "sequencer_url is for role full"),
        (
            config.sequencer_url is not None and not _is_url(config.sequencer_url, "ws", "wss"),
            "sequencer_url is a URL such as ws://127.0.0.1:8545",
        ),
        (config.demo and config.role != "dev", "demo is for role dev"),
        (
            config.role != "dev" and bool(config.record_answers or config.replay_answers),
            "record_answers and replay_answers are for role dev",
        ),
        (
            config.record_answers is not None and config.replay_answers is not None,
            "record_answers writes down what a neuron says, replay_answers asks none: give one of them",
        ),
        (config.demo and config.replay_answers is not None, "demo asks a neuron: leave out --replay-answers"),
        (config.demo and not config.neuron, "demo asks a neuron: leave out --no-neuron"),
        (
            (config.l1_user is None) != (config.l1_password_file is None),
            "l1_user and l1_password_file go together",
        ),
        (config.l1_user is not None and config.l1_cookie is not None, "give l1_cookie or l1_user, not both"),
        (config.embedded_bitcoin and _has_credentials(config), "l1_cookie and l1_user need l1_rpc"),
        (
            config.l1_ca_file is not None and not (config.l1_rpc or "").startswith("https"),
            "l1_ca_file is for an l1_rpc that begins with https",
        ),
        (config.fee_floor > config.fee_cap, "fee_floor is above fee_cap"),
        (
            config.role == "full" and bool(INSCRIBING & config.model_fields_set),
            f"role full inscribes nothing: leave out {', '.join(sorted(INSCRIBING & config.model_fields_set))}",
        ),
        (len(set(fixed)) != len(fixed), f"two listeners share a port: {sorted(fixed)}"),
    )


def _is_url(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _has_credentials(config: NodeConfig) -> bool:
    return config.l1_cookie is not None or config.l1_user is not None


class Source(StrEnum):
    """Who gave a setting its value, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True)
class Origin:
    """Where one value came from: `place` is the flag, the variable or the file."""

    source: Source
    place: str


@dataclass(frozen=True)
class LoadedConfig:
    """A valid configuration, and the origin of every setting by its name."""

    config: NodeConfig
    origins: Mapping[str, Origin]


def flag_of(setting: str) -> str:
    """The flag of a setting: `rpc_port` is `--rpc-port`; what is on by itself has a flag that turns it off."""
    return ("--no-" if setting in {"neuron", "console_log"} else "--") + setting.replace("_", "-")


def variable_of(setting: str) -> str:
    """The environment variable of a setting: `rpc_port` is `BITAI_RPC_PORT`."""
    return ENVIRONMENT_PREFIX + setting.upper()


def load_config(flags: Mapping[str, object]) -> LoadedConfig:
    """Join all sources into one checked configuration; `flags` holds only what the command line named.

    Raises ConfigError `config.unknown_key`, `config.bad_file`, `config.not_in_file`, `config.invalid_value`
    or `config.contradiction`.
    """
    environment = _from_environment()
    path = _config_file(flags, environment)
    file = _from_file(path)
    origins = {name: Origin(Source.DEFAULT, "") for name in NodeConfig.model_fields}
    origins |= {name: Origin(Source.FILE, str(path)) for name in file}
    origins |= {name: Origin(Source.ENVIRONMENT, variable_of(name)) for name in environment}
    origins |= {name: Origin(Source.FLAG, flag_of(name)) for name in flags}
    try:
        config = NodeConfig(**{**file, **environment, **flags})
    except ValidationError as error:
        raise _invalid_value(error, origins) from error
    return LoadedConfig(config, origins)


def _from_environment() -> dict[str, Any]:
    for variable in os.environ:
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in OTHER_VARIABLES:
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            _require_known(name, f"the environment variable {variable}", fix=f"unset {variable}")
    return EnvSettingsSource(NodeConfig)()


def _config_file(flags: Mapping[str, object], environment: Mapping[str, object]) -> Path:
    """Find the file before the settings are known, from flags and environment alone."""
    chosen = {**environment, **flags}
    if "datadir" in chosen:
        return Path(str(chosen["datadir"])).expanduser() / CONFIG_FILE
    return default_datadir(str(chosen.get("network", "regtest"))) / CONFIG_FILE


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):  # a data folder that cannot be is told by who makes it
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            "config.bad_file", f"{path} cannot be read", why=str(error), fix=f"mv {path} {path}.broken"
        ) from error
    for name in content:
        _require_known(name, f"the setting '{name}' in {path}", fix=f"remove '{name}' from {path}")
        if name in {"network", "datadir"}:
            raise ConfigError(
                "config.not_in_file",
                f"'{name}' cannot be set in {path}",
                why="it decides where that file is looked for",
                fix=f"bitai-node run {flag_of(name)} {content[name]}",
            )
    return content


def _require_known(name: str, where: str, *, fix: str) -> None:
    if name in NodeConfig.model_fields:
        return
    near = difflib.get_close_matches(name, NodeConfig.model_fields, n=1)
    why = f"the nearest setting is '{near[0]}'" if near else "no setting has a name like it"
    raise ConfigError("config.unknown_key", f"{where} is unknown", why=why, fix=fix)


def _invalid_value(error: ValidationError, origins: Mapping[str, Origin]) -> ConfigError:
    """Retell pydantic's first complaint with the place a person can change."""
    first = error.errors(include_url=False)[0]
    why = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return ConfigError("config.contradiction", "the settings contradict each other", why=why, fix=_SHOW)
    name = str(first["loc"][0])
    origin = origins.get(name, Origin(Source.FLAG, flag_of(name)))
    return ConfigError(
        "config.invalid_value",
        f"{name} = {first['input']!r} ({origin.source}: {origin.place}) is not usable",
        why=why,
        fix=_SHOW,
    )


_SHOW = "bitai-node run --help"


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a listener on `address`."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
