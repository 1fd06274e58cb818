namespace Rlhf.Cli.Settings;

/// <summary>Finds the known name that somebody probably meant.</summary>
internal static class NearestName
{
    /// <summary>The nearest of <paramref name="known"/>, or null when none is near.</summary>
    public static string? Of(string name, IEnumerable<string> known)
    {
        string target = Setting.Normalize(name.Length > 64 ? name[..64] : name);
        var (nearest, distance) = known
            .Select(k => (Name: k, Distance: Distance(target, Setting.Normalize(k))))
            .DefaultIfEmpty((Name: "", Distance: int.MaxValue))
            .MinBy(k => k.Distance);
        return distance <= Math.Max(2, target.Length / 3) && distance < target.Length ? nearest : null;
    }

    /// <summary>Insertions, deletions, replacements and swaps of neighbors that turn one word into the other
    /// (Damerau).</summary>
    public static int Distance(string a, string b)
    {
        var d = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++) d[i, 0] = i;
        for (int j = 0; j <= b.Length; j++) d[0, j] = j;
        for (int i = 1; i <= a.Length; i++)
            for (int j = 1; j <= b.Length; j++)
            {
                int replace = d[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                d[i, j] = Math.Min(replace, 1 + Math.Min(d[i - 1, j], d[i, j - 1]));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    d[i, j] = Math.Min(d[i, j], 1 + d[i - 2, j - 2]);
            }
        return d[a.Length, b.Length];
    }
}
