namespace Rlhf.Generation;

/// <summary>Text that grows at its end: what of it is certain, as no later token can change it or complete a stop text in it.</summary>
internal sealed class PendingText(IReadOnlyList<string> stops)
{
    private readonly string[] stops = [.. stops.Where(s => s.Length > 0)];
    private int given;

    /// <summary>Where the first stop text begins; -1: nowhere. None begins in what was given before.</summary>
    private int StopIn(string text) => stops.Length == 0 ? -1
        : stops.Select(stop => text.IndexOf(stop, Math.Min(given, text.Length), StringComparison.Ordinal)).Where(at => at >= 0).DefaultIfEmpty(-1).Min();

    /// <param name="text">The whole text so far.</param>
    /// <param name="isWhole">Nothing will follow.</param>
    /// <param name="stopped">A stop text was found; nothing counts from there.</param>
    /// <returns>What became certain since the last call.</returns>
    public string Add(string text, bool isWhole, out bool stopped)
    {
        int stop = StopIn(text);
        stopped = stop >= 0;
        int certain = stopped ? stop : isWhole ? text.Length : text.Length - Uncertain(text);
        string added = certain > given ? text[given..certain] : "";
        given = Math.Max(given, certain);
        return added;
    }

    /// <summary>Characters at the end that may be part of a character or of a stop text whose rest has not come yet.</summary>
    private int Uncertain(string text)
    {
        int broken = text.Length - text.TrimEnd('\uFFFD').Length;
        int begun = stops.Select(s => Enumerable.Range(1, Math.Min(s.Length - 1, text.Length))
            .LastOrDefault(n => s.StartsWith(text[^n..], StringComparison.Ordinal))).DefaultIfEmpty(0).Max();
        return Math.Max(broken, begun);
    }
}
