//! From raw bytes to a transaction that is valid in some state of the chain.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Bytes, Keccak256, TxKind, U256, keccak256};
use alloy_rlp::{Decodable, EMPTY_STRING_CODE, Encodable, Header};
use revm::context::{CfgEnv, TxEnv};
use revm::context_interface::either::Either;
use revm::context_interface::transaction::{
    AccessList, RecoveredAuthority, RecoveredAuthorization, SignedAuthorization,
};
use revm::handler::validation::validate_initial_tx_gas_with_gas_params;

use super::signature::recover;
use super::size::data_size;
use super::transaction::Tx;
use crate::exec::evm::{SPEC, configuration};

const LEGACY: u8 = 0;
const ACCESS_LIST: u8 = 1;
const DYNAMIC_FEE: u8 = 2;
const SET_CODE: u8 = 4;

/// Largest init code (EIP-3860).
const MAX_INIT_CODE: usize = 49_152;

/// Gas prices of the fork; making them anew for each transaction costs more than decoding it.
static CONFIGURATION: LazyLock<CfgEnv> = LazyLock::new(|| configuration(0));

/// Why a transaction is none: code and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
}

pub(crate) type Decoded<T> = Result<T, Refusal>;

fn refuse<T>(code: &'static str, message: &'static str) -> Decoded<T> {
    Err(Refusal { code, message })
}

fn malformed() -> Refusal {
    Refusal { code: "tx.malformed", message: "not canonical RLP of a transaction" }
}

/// A signature as it stands in the transaction.
struct Signature {
    odd_y: bool,
    v: U256,
    r: U256,
    s: U256,
}

/// Decodes one raw transaction, recovers its sender and makes the checks that need no state.
///
/// `gas_cap` is the most gas that it may declare; None for one that stands in a block already.
/// `impersonated` also admits the ones that a development node's owner sends in anybody's name: r is 0, which no
/// signature has, and s is the sender.
pub(crate) fn decode(raw: Bytes, chain_id: u64, gas_cap: Option<u64>, impersonated: bool) -> Decoded<Tx> {
    let (env, signature, digest) = match raw.first() {
        Some(0xc0..) => decode_legacy(&raw, chain_id)?,
        Some(&(ACCESS_LIST | DYNAMIC_FEE | SET_CODE)) => decode_typed(&raw, chain_id)?,
        Some(0..=0x7f) => return refuse("tx.type_not_supported", "types 0, 1, 2 and 4 are supported"),
        None | Some(0x80..=0xbf) => return Err(malformed()),
    };
    let (intrinsic_gas, floor_gas) = check(&env)?;
    if gas_cap.is_some_and(|cap| env.gas_limit > cap) {
        return refuse("tx.gas_cap", "it declares more gas than a transaction may");
    }
    let named = if impersonated { named_sender(&signature) } else { None };
    let recovered = || recover(&digest, signature.odd_y, &signature.r, &signature.s);
    let Some(sender) = named.or_else(recovered) else {
        return refuse("tx.bad_signature", "the signature is not valid");
    };
    let env =
        TxEnv { caller: sender, authorization_list: recover_authorities(env.authorization_list), ..env };
    let Signature { odd_y, v, r, s } = signature;
    let (hash, data_size) = (keccak256(&raw), data_size(&raw));
    Ok(Tx { hash, raw, env, odd_y, v, r, s, intrinsic_gas, floor_gas, data_size })
}

/// The sender that stands in the place of a signature.
fn named_sender(signature: &Signature) -> Option<Address> {
    let word = signature.s.to_be_bytes::<32>();
    let names = signature.r.is_zero() && !signature.odd_y && word[..12].iter().all(|byte| *byte == 0);
    names.then(|| Address::from_slice(&word[12..]))
}

type Parts = (TxEnv, Signature, B256);

/// Payload of the one list that `bytes` is.
fn list_payload(bytes: &[u8]) -> Decoded<&[u8]> {
    let mut payload = bytes;
    match Header::decode(&mut payload) {
        Ok(header) if header.list && header.payload_length == payload.len() => Ok(payload),
        _ => Err(malformed()),
    }
}

fn take<T: Decodable>(payload: &mut &[u8]) -> Decoded<T> {
    T::decode(payload).map_err(|_| malformed())
}

/// A price or fee; Ethereum allows 256 bits, but nobody can pay what exceeds 128.
fn take_price(payload: &mut &[u8]) -> Decoded<u128> {
    let price: U256 = take(payload)?;
    u128::try_from(price).or_else(|_| refuse("tx.fee_overflow", "a fee exceeds 128 bits"))
}

/// Nonce; the last one can never be used (EIP-2681).
fn take_nonce(payload: &mut &[u8]) -> Decoded<u64> {
    match take(payload)? {
        u64::MAX => refuse("tx.nonce_overflow", "the nonce is 2**64 - 1"),
        nonce => Ok(nonce),
    }
}

fn take_destination(payload: &mut &[u8]) -> Decoded<TxKind> {
    take(payload)
}

fn decode_legacy(raw: &[u8], chain_id: u64) -> Decoded<Parts> {
    let fields = list_payload(raw)?;
    let rest = &mut &*fields;
    let mut env = TxEnv { tx_type: LEGACY, chain_id: Some(chain_id), ..TxEnv::default() };
    env.nonce = take_nonce(rest)?;
    env.gas_price = take_price(rest)?;
    env.gas_limit = take(rest)?;
    env.kind = take_destination(rest)?;
    env.value = take(rest)?;
    env.data = take(rest)?;
    let signed = &fields[..fields.len() - rest.len()];
    let (v, r, s): (U256, U256, U256) = (take(rest)?, take(rest)?, take(rest)?);
    if !rest.is_empty() {
        return Err(malformed());
    }
    if v == U256::from(27) || v == U256::from(28) {
        return refuse("tx.unprotected", "a legacy transaction must name its chain (EIP-155)");
    }
    if v < U256::from(35) {
        return refuse("tx.bad_signature", "v is neither 27, 28 nor that of a chain");
    }
    let offset = v - U256::from(35);
    if offset >> 1 != U256::from(chain_id) {
        return refuse("tx.wrong_chain", "signed for another chain");
    }
    let odd_y = offset.bit(0);
    // EIP-155: the chain id and two empty strings take the signature's place.
    let payload_length = signed.len() + chain_id.length() + 2;
    let mut head = Vec::with_capacity(16);
    Header { list: true, payload_length }.encode(&mut head);
    let mut tail = Vec::with_capacity(16);
    chain_id.encode(&mut tail);
    tail.extend([EMPTY_STRING_CODE; 2]);
    Ok((env, Signature { odd_y, v, r, s }, digest(&[&head, signed, &tail])))
}

fn decode_typed(raw: &[u8], chain_id: u64) -> Decoded<Parts> {
    let (tx_type, body) = (raw[0], &raw[1..]);
    let fields = list_payload(body)?;
    let rest = &mut &*fields;
    if take::<U256>(rest)? != U256::from(chain_id) {
        return refuse("tx.wrong_chain", "signed for another chain");
    }
    let mut env = TxEnv { tx_type, chain_id: Some(chain_id), ..TxEnv::default() };
    env.nonce = take_nonce(rest)?;
    if tx_type != ACCESS_LIST {
        env.gas_priority_fee = Some(take_price(rest)?);
    }
    env.gas_price = take_price(rest)?;
    env.gas_limit = take(rest)?;
    env.kind = take_destination(rest)?;
    env.value = take(rest)?;
    env.data = take(rest)?;
    env.access_list = take::<AccessList>(rest)?;
    if tx_type == SET_CODE {
        let authorizations: Vec<SignedAuthorization> = take(rest)?;
        env.authorization_list = authorizations.into_iter().map(Either::Left).collect();
    }
    let signed = &fields[..fields.len() - rest.len()];
    let odd_y: bool = take(rest)?;
    let (r, s) = (take(rest)?, take(rest)?);
    if !rest.is_empty() {
        return Err(malformed());
    }
    let mut head = vec![tx_type];
    Header { list: true, payload_length: signed.len() }.encode(&mut head);
    Ok((env, Signature { odd_y, v: U256::from(odd_y), r, s }, digest(&[&head, signed])))
}

fn digest(parts: &[&[u8]]) -> B256 {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// The checks that need no state; answers intrinsic and floor gas.
fn check(env: &TxEnv) -> Decoded<(u64, u64)> {
    if env.tx_type == SET_CODE && (env.kind.is_create() || env.authorization_list.is_empty()) {
        return refuse("tx.authorization_list", "type 4 calls a contract and has authorizations");
    }
    if env.gas_priority_fee.is_some_and(|tip| tip > env.gas_price) {
        return refuse("tx.priority_above_fee_cap", "the priority fee exceeds the fee cap");
    }
    let cost = U256::from(env.gas_limit) * U256::from(env.gas_price);
    if cost.checked_add(env.value).is_none() {
        return refuse("tx.fee_overflow", "gas limit x fee cap + value exceeds 256 bits");
    }
    if env.kind.is_create() && env.data.len() > MAX_INIT_CODE {
        return refuse("tx.init_code_size", "init code has at most 49,152 bytes");
    }
    let (intrinsic, floor) = gas(env);
    if intrinsic > env.gas_limit {
        return refuse("tx.intrinsic_gas", "the gas limit is below the intrinsic gas");
    }
    if floor > env.gas_limit {
        return refuse("tx.floor_gas", "the gas limit is below the floor for this calldata");
    }
    Ok((intrinsic, floor))
}

/// Intrinsic and floor gas of a transaction.
pub(crate) fn gas(env: &TxEnv) -> (u64, u64) {
    // With all the gas there is, the only thing left to this is to count.
    let unlimited = TxEnv { gas_limit: u64::MAX, ..env.clone() };
    let params = &CONFIGURATION.gas_params;
    validate_initial_tx_gas_with_gas_params(&unlimited, SPEC, params, false, false, u64::MAX, None)
        .map_or((u64::MAX, u64::MAX), |gas| (gas.initial_total_gas(), gas.floor_gas()))
}

fn recover_authorities(
    list: Vec<Either<SignedAuthorization, RecoveredAuthorization>>,
) -> Vec<Either<SignedAuthorization, RecoveredAuthorization>> {
    list.into_iter()
        .map(|entry| match entry {
            Either::Left(signed) => Either::Right(recover_authority(signed)),
            recovered @ Either::Right(_) => recovered,
        })
        .collect()
}

/// Finds who signed an authorization; an invalid signature makes it one that does nothing.
pub(crate) fn recover_authority(signed: SignedAuthorization) -> RecoveredAuthorization {
    let digest = signed.inner().signature_hash();
    let authority = match signed.y_parity() {
        parity @ (0 | 1) => recover(&digest, parity == 1, &signed.r(), &signed.s()),
        _ => None,
    };
    let authority = authority.map_or(RecoveredAuthority::Invalid, RecoveredAuthority::Valid);
    RecoveredAuthorization::new_unchecked(signed.strip_signature(), authority)
}

/// The authorizations of a raw type 4 transaction that decoded before.
pub(crate) fn authorizations(raw: &[u8]) -> Decoded<Vec<SignedAuthorization>> {
    let mut rest = list_payload(raw.get(1..).unwrap_or_default())?;
    for _ in 0..9 {
        skip(&mut rest)?;
    }
    take(&mut rest)
}

fn skip(payload: &mut &[u8]) -> Decoded<()> {
    let header = Header::decode(payload).map_err(|_| malformed())?;
    *payload = payload.get(header.payload_length..).ok_or_else(malformed)?;
    Ok(())
}
