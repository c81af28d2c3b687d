import { buildModule } from "@nomicfoundation/hardhat-ignition/modules";

// Deploys a lock for the digit 7; the model is a parameter, for example
//   npx hardhat ignition deploy ignition/modules/DigitLock.js --network bitai --parameters parameters.json
export default buildModule("DigitLockModule", (m) => {
  const lock = m.contract("DigitLock", [m.getParameter("modelId"), 7, 20_000]);
  return { lock };
});
