export { chooseEngine, type ChooseOptions, type ChosenEngine, type EngineName } from './choose.ts';
