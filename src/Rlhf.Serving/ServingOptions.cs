using System.Net;

namespace Rlhf.Serving;

/// <summary>What a server without the studio serves, and to whom.</summary>
internal sealed record ServingOptions
{
    /// <summary>Shortest API key that is accepted, in characters.</summary>
    public const int ShortestKey = 12;

    /// <summary>Where to listen: an address of this machine. Any but a loopback address needs <see cref="ApiKeys"/>.</summary>
    public IPAddress Address { get; init; } = IPAddress.Loopback;

    /// <summary>TCP port; 0 takes a free one.</summary>
    public int Port { get; init; } = 8000;

    /// <summary>Keys of which every request must show one, as a bearer token; none: nothing is asked.</summary>
    public IReadOnlyList<string> ApiKeys { get; init; } = [];

    /// <summary>Most bytes of a request's body.</summary>
    public long MaxBodyBytes { get; init; } = 1 << 20;

    /// <summary>What requests may ask for.</summary>
    public ServingLimits Limits { get; init; } = new();

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (Port is < 0 or > 65535)
            yield return $"Port is {Port}; it must be from 0 (any free one) to 65535.";
        if (ApiKeys.FirstOrDefault(k => k.Length < ShortestKey || k.Any(c => c is <= ' ' or > '~')) is { } bad)
            yield return bad.Length < ShortestKey ? $"ApiKey has {bad.Length} characters; it must have at least {ShortestKey}."
                : "ApiKey has a blank or a character that is not ASCII; clients send it in a header.";
        if (ApiKeys.Count == 0 && !IPAddress.IsLoopback(Address))
            yield return $"Host is {Address}, which other machines can reach: set an ApiKey as well, or leave Host out.";
        if (MaxBodyBytes < 1024)
            yield return $"MaxBodyBytes is {MaxBodyBytes}; it must be at least 1024.";
        if (Limits.MaxPromptTokens is < 1)
            yield return $"MaxPromptTokens is {Limits.MaxPromptTokens}; it must be at least 1.";
        if (Limits.MaxNewTokens is < 1)
            yield return $"MaxNewTokens is {Limits.MaxNewTokens}; it must be at least 1.";
    }
}
