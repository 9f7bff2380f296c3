<?php
/**
 * Object cache in the cell's memcached, in the tenant's own key space; without memcached each request has a cache of its own and goes on.
 *
 * Keys are <tenant's schema>:<era>:<group>:<key>. Flushing raises the era, because the cache is shared and must not be emptied for one tenant.
 * A write that could not reach memcached would leave an old value to be read later: the era is then raised before the cache is used again.
 */

function wp_cache_init() { $GLOBALS['wp_object_cache'] = new WP_Object_Cache(); }
function wp_cache_add($key, $data, $group = '', $expire = 0) { return $GLOBALS['wp_object_cache']->add($key, $data, $group, (int) $expire); }
function wp_cache_add_multiple(array $data, $group = '', $expire = 0) { return array_map_keys_atoll($data, fn ($k, $v) => wp_cache_add($k, $v, $group, $expire)); }
function wp_cache_replace($key, $data, $group = '', $expire = 0) { return $GLOBALS['wp_object_cache']->replace($key, $data, $group, (int) $expire); }
function wp_cache_set($key, $data, $group = '', $expire = 0) { return $GLOBALS['wp_object_cache']->set($key, $data, $group, (int) $expire); }
function wp_cache_set_multiple(array $data, $group = '', $expire = 0) { return array_map_keys_atoll($data, fn ($k, $v) => wp_cache_set($k, $v, $group, $expire)); }
function wp_cache_get($key, $group = '', $force = false, &$found = null) { return $GLOBALS['wp_object_cache']->get($key, $group, (bool) $force, $found); }
function wp_cache_get_multiple($keys, $group = '', $force = false) { return $GLOBALS['wp_object_cache']->get_multiple($keys, $group, (bool) $force); }
function wp_cache_delete($key, $group = '') { return $GLOBALS['wp_object_cache']->delete($key, $group); }
function wp_cache_delete_multiple(array $keys, $group = '') { return array_combine($keys, array_map(fn ($key) => wp_cache_delete($key, $group), $keys)); }
function wp_cache_incr($key, $offset = 1, $group = '') { return $GLOBALS['wp_object_cache']->add_number($key, (int) $offset, $group); }
function wp_cache_decr($key, $offset = 1, $group = '') { return $GLOBALS['wp_object_cache']->add_number($key, -(int) $offset, $group); }
function wp_cache_flush() { return $GLOBALS['wp_object_cache']->flush(); }
function wp_cache_flush_runtime() { return $GLOBALS['wp_object_cache']->forget(); }
function wp_cache_flush_group($group) { return false; }
function wp_cache_supports($feature) { return in_array($feature, ['add_multiple', 'set_multiple', 'get_multiple', 'delete_multiple', 'flush_runtime'], true); }
function wp_cache_close() { return $GLOBALS['wp_object_cache']->close(); }
function wp_cache_add_global_groups($groups) {}
function wp_cache_add_non_persistent_groups($groups) { $GLOBALS['wp_object_cache']->keep_local((array) $groups); }
function wp_cache_switch_to_blog($blog_id) {}
function wp_cache_reset() { return $GLOBALS['wp_object_cache']->forget(); }

/** array_map that gives the callback the key too and keeps it. */
function array_map_keys_atoll(array $data, callable $call): array
{
    foreach ($data as $key => $value) {
        $data[$key] = $call($key, $value);
    }
    return $data;
}

class WP_Object_Cache
{
    /** Milliseconds that one exchange with memcached may take. It lies in the same cell: more means that it is not well. */
    private const WITHIN_MS = 200;
    /** Even what never expires is read anew after so many seconds, should a write have been lost without our knowing. */
    private const LONGEST_S = 3600;

    public int $cache_hits = 0;
    public int $cache_misses = 0;

    /** @var array<string, mixed> what this request has seen, by group and key */
    private array $seen = [];
    /** @var array<string, true> groups that stay within the request */
    private array $local = [];
    private ?Memcached $server = null;
    private string $prefix = '';
    private bool $configured;
    /** Stands while this instance knows of a write that memcached missed. */
    private string $dirty;

    public function __construct()
    {
        $this->dirty = '/tmp/cache-behind-' . WP_CACHE_KEY_SALT;
        $this->configured = class_exists('Memcached');
        if ($this->configured) {
            $this->server = $this->connect();
            $this->begin_era();
        }
    }

    private function connect(): Memcached
    {
        // Not a lasting connection: it would hold a gate or a cache that is to be replaced.
        $server = new Memcached();
        $server->setOptions([
            Memcached::OPT_CONNECT_TIMEOUT => self::WITHIN_MS,
            Memcached::OPT_POLL_TIMEOUT => self::WITHIN_MS,
            Memcached::OPT_SEND_TIMEOUT => self::WITHIN_MS * 1000,
            Memcached::OPT_RECV_TIMEOUT => self::WITHIN_MS * 1000,
            Memcached::OPT_TCP_NODELAY => true,
            Memcached::OPT_COMPRESSION => true,
        ]);
        $server->addServer('cache', 11211);
        return $server;
    }

    public function add($key, $data, $group, int $expire): bool
    {
        if (function_exists('wp_suspend_cache_addition') && wp_suspend_cache_addition()) {
            return false;
        }
        $id = $this->id($key, $group);
        if (array_key_exists($id, $this->seen)) {
            return false;
        }
        if ($this->shared($group)) {
            $stored = $this->server->add($this->prefix . $id, $data, $this->ttl($expire));
            if (!$stored && $this->server->getResultCode() === Memcached::RES_NOTSTORED) {
                return false;
            }
            $this->check($stored);
        }
        $this->seen[$id] = $this->copy($data);
        return true;
    }

    public function replace($key, $data, $group, int $expire): bool
    {
        $this->get($key, $group, false, $found);
        return $found && $this->set($key, $data, $group, $expire);
    }

    public function set($key, $data, $group, int $expire): bool
    {
        $id = $this->id($key, $group);
        $this->seen[$id] = $this->copy($data);
        $this->changed($group);
        if ($this->shared($group)) {
            $stored = $this->server->set($this->prefix . $id, $data, $this->ttl($expire));
            if (!$stored && $this->server->getResultCode() === Memcached::RES_E2BIG) {
                // Too large an item is not an outage, but an older one of that key must not stay.
                $this->delete_shared($id);
                return true;
            }
            $this->check($stored);
        }
        return true;
    }

    public function get($key, $group, bool $force = false, &$found = null)
    {
        $id = $this->id($key, $group);
        if (array_key_exists($id, $this->seen) && (!$force || !$this->shared($group))) {
            $found = true;
            $this->cache_hits++;
            return $this->copy($this->seen[$id]);
        }
        $value = false;
        $found = false;
        if ($this->shared($group)) {
            $value = $this->server->get($this->prefix . $id);
            $found = $this->server->getResultCode() === Memcached::RES_SUCCESS;
            if (!$found && $this->server->getResultCode() !== Memcached::RES_NOTFOUND) {
                $this->leave();
            }
        }
        if ($found) {
            $this->cache_hits++;
            $this->seen[$id] = $this->copy($value);
            return $value;
        }
        $this->cache_misses++;
        return false;
    }

    /** @return array<int|string, mixed> */
    public function get_multiple($keys, $group, bool $force): array
    {
        $missing = [];
        foreach ($keys as $key) {
            $id = $this->id($key, $group);
            if ($force || !array_key_exists($id, $this->seen)) {
                $missing[$this->prefix . $id] = $id;
            }
        }
        if ($missing !== [] && $this->shared($group)) {
            $answer = $this->server->getMulti(array_keys($missing));
            if (!is_array($answer)) {
                $this->leave();
            } else {
                foreach ($answer as $full => $value) {
                    $this->seen[$missing[$full]] = $value;
                }
            }
        }
        $values = [];
        foreach ($keys as $key) {
            $id = $this->id($key, $group);
            $hit = array_key_exists($id, $this->seen);
            $hit ? $this->cache_hits++ : $this->cache_misses++;
            $values[$key] = $hit ? $this->copy($this->seen[$id]) : false;
        }
        return $values;
    }

    public function delete($key, $group): bool
    {
        $id = $this->id($key, $group);
        $had = array_key_exists($id, $this->seen);
        unset($this->seen[$id]);
        $this->changed($group);
        if (!$this->shared($group)) {
            return $had;
        }
        return $this->delete_shared($id) || $had;
    }

    private function delete_shared(string $id): bool
    {
        $deleted = $this->server->delete($this->prefix . $id);
        $this->check($deleted || $this->server->getResultCode() === Memcached::RES_NOTFOUND);
        return $deleted;
    }

    public function add_number($key, int $offset, $group)
    {
        $value = $this->get($key, $group, true, $found);
        if (!$found) {
            return false;
        }
        $value = max(0, (is_numeric($value) ? (int) $value : 0) + $offset);
        $this->set($key, $value, $group, 0);
        return $value;
    }

    public function flush(): bool
    {
        $this->seen = [];
        if ($this->server !== null) {
            $this->raise_era();
        } else {
            $this->fall_behind();
        }
        return true;
    }

    public function forget(): bool
    {
        $this->seen = [];
        return true;
    }

    /** @param array<string> $groups */
    public function keep_local(array $groups): void
    {
        foreach ($groups as $group) {
            $this->local[$group] = true;
        }
    }

    public function stats(): void
    {
        printf('<p>hits %d, misses %d, %s</p>', $this->cache_hits, $this->cache_misses, $this->server === null ? 'this request only' : 'memcached');
    }

    private function begin_era(): void
    {
        if (file_exists($this->dirty)) {
            $this->raise_era();
            return;
        }
        $name = WP_CACHE_KEY_SALT . ':era';
        $era = $this->server->get($name);
        if (!is_string($era)) {
            if ($this->server->getResultCode() !== Memcached::RES_NOTFOUND) {
                $this->leave();
                return;
            }
            // Added, not set: of two requests that begin at once both take the first one's.
            $era = $this->new_era();
            if (!$this->server->add($name, $era)) {
                $era = $this->server->get($name);
                if (!is_string($era)) {
                    $this->leave();
                    return;
                }
            }
        }
        $this->prefix = WP_CACHE_KEY_SALT . ":$era:";
    }

    private function raise_era(): void
    {
        $era = $this->new_era();
        if (!$this->server->set(WP_CACHE_KEY_SALT . ':era', $era)) {
            $this->leave();
            $this->fall_behind();
            return;
        }
        $this->prefix = WP_CACHE_KEY_SALT . ":$era:";
        @unlink($this->dirty);
    }

    /** Random, not counted: after a restart of memcached a counted era would begin anew and could meet old entries. */
    private function new_era(): string
    {
        return bin2hex(random_bytes(6));
    }

    private function check(bool $stored): void
    {
        if (!$stored) {
            $this->leave();
            $this->fall_behind();
        }
    }

    /** Goes on without memcached until the end of the request. */
    private function leave(): void
    {
        error_log('atoll: the cache is left out: ' . $this->server->getResultMessage());
        $this->server = null;
    }

    /** What memcached holds may be old: no request of this instance uses it before the era was raised. */
    private function fall_behind(): void
    {
        if ($this->configured && !file_exists($this->dirty)) {
            touch($this->dirty);
        }
    }

    /** At the end of a request that left memcached behind, one more attempt: the other instances may reach it. */
    public function close(): bool
    {
        if ($this->configured && file_exists($this->dirty)) {
            $this->server = $this->connect();
            $this->raise_era();
        }
        return true;
    }

    private function shared($group): bool
    {
        return $this->server !== null && !isset($this->local[$group ?: 'default']);
    }

    /** A change that memcached does not hear of because it was left earlier in this request. */
    private function changed($group): void
    {
        if ($this->server === null && !isset($this->local[$group ?: 'default'])) {
            $this->fall_behind();
        }
    }

    /** Readable where that is safe in memcached's protocol, else a hash. */
    private function id($key, $group): string
    {
        $id = ($group ?: 'default') . ':' . $key;
        return preg_match('/\A[\x21-\x7e]{1,160}\z/', $id) === 1 ? $id : 'h:' . hash('sha256', $id);
    }

    private function ttl(int $expire): int
    {
        return $expire > 0 ? min($expire, self::LONGEST_S) : self::LONGEST_S;
    }

    private function copy($value)
    {
        return is_object($value) ? clone $value : $value;
    }
}
