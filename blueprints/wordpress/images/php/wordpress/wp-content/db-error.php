<?php
/** Shown when no writer was found in time. 503, so that clients and monitors know that it is worth trying again. */

atoll_refuse(503, 'no connection to the database: ' . mysqli_connect_errno() . ' ' . mysqli_connect_error());
