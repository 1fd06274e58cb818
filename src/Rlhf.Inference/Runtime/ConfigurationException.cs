namespace Rlhf.Runtime;

/// <summary>Settings that cannot be used. The message lists every problem, not only the first.</summary>
public sealed class ConfigurationException(IReadOnlyList<string> problems)
    : Exception(problems.Count == 1 ? problems[0]
        : "The configuration has " + problems.Count + " problems:\n  - " + string.Join("\n  - ", problems))
{
    /// <summary>Each problem as one sentence: what, where, what to do.</summary>
    public IReadOnlyList<string> Problems { get; } = problems;

    /// <summary>Throws when there are problems.</summary>
    public static void ThrowIfAny(IReadOnlyList<string> problems)
    {
        if (problems.Count > 0)
            throw new ConfigurationException(problems);
    }
}
