//! HPKE contexts behind one face.
