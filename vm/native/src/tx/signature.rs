//! Who signed a digest.

use alloy_primitives::{Address, B256, U256, keccak256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SECP256K1};

/// Half the order of the curve: a larger s is the same signature written a second way, and refused (EIP-2).
const HALF_ORDER: U256 =
    U256::from_limbs([0xdfe9_2f46_681b_20a0, 0x5d57_6e73_57a4_501d, u64::MAX, u64::MAX >> 1]);

/// Address whose key signed `digest`; None for a signature that is not one, or with a high s.
pub(crate) fn recover(digest: &B256, odd_y: bool, r: &U256, s: &U256) -> Option<Address> {
    if *s > HALF_ORDER {
        return None;
    }
    let mut compact = [0; 64];
    compact[..32].copy_from_slice(&r.to_be_bytes::<32>());
    compact[32..].copy_from_slice(&s.to_be_bytes::<32>());
    let id = if odd_y { RecoveryId::One } else { RecoveryId::Zero };
    let signature = RecoverableSignature::from_compact(&compact, id).ok()?;
    let key = SECP256K1.recover_ecdsa(Message::from_digest(digest.0), &signature).ok()?;
    let point = key.serialize_uncompressed();
    Some(Address::from_slice(&keccak256(&point[1..])[12..]))
}

#[cfg(test)]
mod tests {
    use super::{HALF_ORDER, recover};
    use alloy_primitives::{B256, U256, uint};

    #[test]
    fn half_order_is_half_the_order() {
        let order = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
        assert_eq!(HALF_ORDER, order >> 1);
    }

    #[test]
    fn zero_is_no_signature() {
        let one = U256::from(1);
        assert_eq!(recover(&B256::ZERO, false, &U256::ZERO, &one), None);
        assert_eq!(recover(&B256::ZERO, false, &one, &U256::ZERO), None);
        assert_eq!(recover(&B256::ZERO, false, &one, &(HALF_ORDER + one)), None);
    }
}
