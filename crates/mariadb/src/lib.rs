//! The data port on MariaDB Galera in containers of this machine.
