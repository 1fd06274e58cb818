using Rlhf.Runtime;

namespace Rlhf.Generation;

/// <summary>How many texts a <see cref="TextCompleter"/> writes at once.</summary>
public sealed record BatchingOptions
{
    /// <summary>Most texts that are written at once, each a row of the batch. 32 by default.</summary>
    public int MaxRows { get; init; } = 32;

    /// <summary>Most texts that wait for a row; who asks for more is refused. No limit by default.</summary>
    public int MaxWaiting { get; init; } = int.MaxValue;

    /// <summary>
    /// Bytes that keys and values of all rows may take: as many texts are written at once as fit with all the tokens that they may get, and
    /// always one. 2 GiB by default.
    /// </summary>
    public long CacheBytes { get; init; } = 2L << 30;

    /// <summary>Tokens of prompts that are read between two steps of the rows that are being written, and always one prompt. 1,024 by default.</summary>
    public int PromptTokensPerStep { get; init; } = 1024;

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (MaxRows < 1) yield return $"MaxRows is {MaxRows}; it must be at least 1.";
        if (MaxWaiting < 0) yield return $"MaxWaiting is {MaxWaiting}; it must be 0 (nobody waits) or more.";
        if (CacheBytes < 1) yield return $"CacheBytes is {CacheBytes}; it must be at least 1.";
        if (PromptTokensPerStep < 1) yield return $"PromptTokensPerStep is {PromptTokensPerStep}; it must be at least 1.";
    }
}
