/** The life of a connection. */
export const HANDSHAKING = 0;
export const OPEN = 1;
/** Closed on one side; quiche still answers stray packets for three PTO. */
export const ENDING = 2;
export const GONE = 3;
