namespace Rlhf.Hub;

/// <summary>Why the Hub could not be used.</summary>
public enum HubError
{
    /// <summary>The token is missing, wrong or expired (401).</summary>
    Unauthorized,

    /// <summary>The token's owner may not do this (403).</summary>
    Forbidden,

    /// <summary>Access must be asked for on the repository's page.</summary>
    Gated,

    /// <summary>There is no such repository, or it is private.</summary>
    RepositoryNotFound,

    /// <summary>The repository has no such branch, tag or commit.</summary>
    RevisionNotFound,

    /// <summary>The revision has no such file.</summary>
    EntryNotFound,

    /// <summary>Offline, and the cache does not hold it.</summary>
    NotCached,

    /// <summary>The Hub cannot be reached, or went silent.</summary>
    Connection,

    /// <summary>Too many requests (429), or the server failed (5xx), again and again.</summary>
    Unavailable,

    /// <summary>What arrived is not what was promised: length or hash.</summary>
    Damaged,

    /// <summary>The disk is full or cannot be written.</summary>
    Disk,

    /// <summary>The server's answer is not of the Hub's protocol.</summary>
    Protocol,
}

/// <summary>The Hub could not be used; the message is one sentence that says what to do. It never holds a token.</summary>
/// <param name="error">Why.</param>
/// <param name="message">One sentence.</param>
/// <param name="inner">What it comes from.</param>
public sealed class HubException(HubError error, string message, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>Why.</summary>
    public HubError Error { get; } = error;
}

/// <summary>A failure that may pass: it is tried again before it becomes a <see cref="HubException"/>.</summary>
internal sealed class HubTransientException(HubError error, string message, Exception? inner = null) : Exception(message, inner)
{
    public HubError Error { get; } = error;

    /// <summary>How long the server asks to wait.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>There was no answer at all, which repeating seldom helps.</summary>
    public bool NoConnection { get; init; }
}
