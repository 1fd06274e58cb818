namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>A dict: keys are compared as Python does (1, 1.0 and True are one key) and keep their order.</summary>
internal sealed class PyDict
{
    private readonly OrderedDictionary<Key, object?> _items = [];

    public int Count => _items.Count;

    public IEnumerable<object?> Keys => _items.Keys.Select(x => x.Value);

    public IEnumerable<object?> Values => _items.Values;

    public IEnumerable<(object? Key, object? Value)> Pairs => _items.Select(x => (x.Key.Value, x.Value));

    /// <summary>Finds a text: the usual case.</summary>
    public bool TryGet(string key, out object? value) => _items.TryGetValue(new(key, key.GetHashCode(), null), out value);

    /// <exception cref="JinjaException">The key is a list or a dict.</exception>
    public bool TryGet(object? key, JinjaBudget budget, out object? value) => _items.TryGetValue(KeyOf(key, budget), out value);

    public void Set(string key, object? value) => _items[new(key, key.GetHashCode(), null)] = value;

    /// <exception cref="JinjaException">The key is a list or a dict.</exception>
    public void Set(object? key, object? value, JinjaBudget budget)
    {
        budget.AllocateItems(8);
        _items[KeyOf(key, budget)] = value;
    }

    public PyDict Copy(JinjaBudget budget)
    {
        budget.AllocateItems(8L * Count);
        var copy = new PyDict();
        foreach (var (key, value) in _items)
            copy._items[key] = value;
        return copy;
    }

    private static Key KeyOf(object? value, JinjaBudget budget) => new(value, PyCompare.Hash(value, budget), budget);

    private readonly struct Key(object? value, int hash, JinjaBudget? budget) : IEquatable<Key>
    {
        private readonly int _hash = hash;
        private readonly JinjaBudget? _budget = budget;

        public object? Value { get; } = value;

        public bool Equals(Key other) => _hash == other._hash
            && (Value is string a && other.Value is string b ? a == b
                : PyCompare.Equal(Value, other.Value, _budget ?? other._budget ?? new()));

        public override bool Equals(object? obj) => obj is Key other && Equals(other);

        public override int GetHashCode() => _hash;
    }
}
