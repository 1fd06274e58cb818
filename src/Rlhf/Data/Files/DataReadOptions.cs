using Rlhf.Runtime;

namespace Rlhf.Data.Files;

/// <summary>What every reader of this room lets the caller choose.</summary>
public abstract record DataReadOptions
{
    /// <summary>
    /// Which split of a source that has several: <c>train</c>, <c>test</c>, <c>unsupervised</c> or any other that file names
    /// begin with. Null: <c>train</c> where the source has it, and everything where file names tell no splits apart.
    /// </summary>
    public string? Split { get; init; }

    /// <summary>
    /// Only every Nth row of the source, counted after the filters: (1, 2) and (2, 2) are two halves that share no row. Null: all.
    /// </summary>
    public (int Number, int Count)? Part { get; init; }

    /// <summary>
    /// Puts the kept rows into an order drawn from this seed before <see cref="Limit"/> is applied. IMDB's files list all
    /// negative reviews before the positive ones, so a limit without it yields one class only. Null: the order of the source.
    /// </summary>
    public long? ShuffleSeed { get; init; }

    /// <summary>At most this many rows, counted after all filters. Null: all.</summary>
    public int? Limit { get; init; }

    /// <summary>
    /// Longest text accepted, in characters (bytes for the files of aclImdb); a longer one is an error. Default 16 Mi.
    /// </summary>
    public int MaxTextLength { get; init; } = 16 << 20;

    /// <summary>Throws when a setting has no meaning.</summary>
    /// <exception cref="ConfigurationException">Names each setting and what it may be.</exception>
    internal void Validate() => ConfigurationException.ThrowIfAny([.. Problems()]);

    private protected virtual IEnumerable<string> Problems()
    {
        if (Limit < 0)
            yield return $"Limit is {Limit}; it must be 0 or more, or null for all rows.";
        if (Part is { } part && (part.Count < 1 || part.Number < 1 || part.Number > part.Count))
            yield return $"Part is {part.Number} of {part.Count}; parts are numbered from 1 to their count.";
        if (MaxTextLength < 1)
            yield return $"MaxTextLength is {MaxTextLength}; it must be positive.";
        if (Split is { } split && string.IsNullOrWhiteSpace(split))
            yield return "Split is empty; name a split such as train, or use null.";
    }

    /// <summary>The rows in the order and number that the options ask for.</summary>
    internal IEnumerable<T> Take<T>(IEnumerable<T> rows)
    {
        if (Part is { } part)
            rows = rows.Where((_, index) => index % part.Count == part.Number - 1);
        if (ShuffleSeed is not { } seed)
            return Limit is { } first ? rows.Take(first) : rows;
        return InSourceOrder ? Drawn(rows, seed) : Limit is { } limit ? Shuffled(rows, seed).Take(limit) : Shuffled(rows, seed);
    }

    /// <summary>Whether rows that are drawn at random stand in the source's order.</summary>
    internal bool InSourceOrder { get; init; }

    private IEnumerable<T> Drawn<T>(IEnumerable<T> rows, long seed)
    {
        var all = rows.ToArray();
        return new RandomStream(seed, "data/sample").NextPermutation(all.Length).Take(Limit ?? all.Length).Order().Select(index => all[index]);
    }

    private static IEnumerable<T> Shuffled<T>(IEnumerable<T> rows, long seed)
    {
        var all = rows.ToArray();
        foreach (int index in new RandomStream(seed, "data/sample").NextPermutation(all.Length))
            yield return all[index];
    }
}
