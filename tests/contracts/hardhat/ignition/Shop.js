import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";

export default buildModule("ShopModule", (m) => {
  const till = m.contract("Till");
  const shop = m.contract("Shop", [till, 9n, 100n]);
  const errands = m.contract("Errands");
  m.call(till, "choose", [shop]);
  return { till, shop, errands };
});
