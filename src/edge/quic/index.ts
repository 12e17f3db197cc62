export { chooseEngine, engineEnvironment, type ChooseOptions, type ChosenEngine, type EngineName } from './choose.ts';
