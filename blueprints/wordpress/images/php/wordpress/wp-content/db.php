<?php
/**
 * The database through its single-writer endpoint. While a new writer is chosen, connections are refused for a moment: this class waits for it,
 * and repeats what is known not to have been done. What may have been done (a write whose answer was lost) is never repeated: it fails.
 */

class Atoll_Database extends wpdb
{
    /** Refused before anything was done: not part of the cluster (1047), read-only (1290). A rollback at commit (1213) is not among them: where the
        cluster falls apart at that moment the others may have kept the write. */
    private const REFUSED = [1047, 1290];
    /** The connection is gone; whether the statement was executed is not known. */
    private const LOST = [2006, 2013];
    /** The account is at its limits or not known: waiting changes nothing. */
    private const HOPELESS = [1040, 1044, 1045, 1049, 1203, 1226];

    /** Seconds from a request's first failure in which it tries again. */
    private const PATIENCE_S = 5.0;

    private ?float $deadline = null;
    /** The statement at hand, where it must not be sent a second time. */
    private bool $sent_once = false;

    /** Ours does the waiting. */
    protected $reconnect_retries = 1;

    public function db_connect($allow_bail = true)
    {
        while (!parent::db_connect(false)) {
            if (in_array(mysqli_connect_errno(), self::HOPELESS, true) || !$this->wait(0.1)) {
                if ($allow_bail) {
                    require WP_CONTENT_DIR . '/db-error.php';
                }
                return false;
            }
        }
        return true;
    }

    public function query($query)
    {
        $this->sent_once = !empty($this->dbh) && !$this->reads((string) $query);
        $result = parent::query($query);
        while ($result === false && $this->repeatable((string) $query) && $this->wait(0.05)) {
            // A connection to a server that is no longer the writer is of no use.
            $this->close();
            if (!$this->db_connect(false)) {
                break;
            }
            $result = parent::query($query);
        }
        $this->sent_once = false;
        return $result;
    }

    /**
     * WordPress asks this when the connection was lost under a statement, and sends the statement again when the answer is yes. The driver reports one
     * code for "could not be sent" and "the answer was lost": a write may stand already, so it is not sent again.
     */
    public function check_connection($allow_bail = true)
    {
        return parent::check_connection($allow_bail) && !$this->sent_once;
    }

    private function repeatable(string $query): bool
    {
        $code = $this->dbh instanceof mysqli ? mysqli_errno($this->dbh) : 0;
        if (in_array($code, self::REFUSED, true)) {
            return true;
        }
        return in_array($code, self::LOST, true) && $this->reads($query);
    }

    private function reads(string $query): bool
    {
        return preg_match('/\A\s*(?:SELECT|SHOW|DESCRIBE|EXPLAIN)\b(?!.*\bFOR\s+UPDATE\b)/is', $query) === 1;
    }

    private function wait(float $seconds): bool
    {
        $this->deadline ??= microtime(true) + self::PATIENCE_S;
        if (microtime(true) + $seconds > $this->deadline) {
            return false;
        }
        usleep((int) ($seconds * 1_000_000));
        return true;
    }
}

$wpdb = new Atoll_Database(DB_USER, DB_PASSWORD, DB_NAME, DB_HOST);
