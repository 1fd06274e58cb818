using System.Security.Cryptography;
using System.Text;

namespace Rlhf.Studio.Hosting;

/// <summary>
/// The studio's token, and the cookie that stands for it. Comparisons take the same time whatever is given, and guesses take long.
/// </summary>
internal sealed class SessionToken(StudioOptions options, TimeProvider? time = null)
{
    private static readonly TimeSpan GuessTime = TimeSpan.FromSeconds(1);
    private readonly SemaphoreSlim guess = new(1);
    private readonly byte[]? digest = options.Token is { } token ? Digest(token) : null;

    /// <summary>Is a token asked for?</summary>
    public bool IsNeeded => digest is not null;

    /// <summary>Name of the cookie: ports share a browser's cookies, studios must not.</summary>
    public static string CookieName(int port) => $"rlhf-studio-{port}";

    /// <summary>The cookie's content, from which the token cannot be had.</summary>
    public string Cookie { get; } = options.Token is { } secret
        ? Convert.ToHexString(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), "rlhf studio session"u8)) : "";

    /// <summary>Is it the token?</summary>
    public bool Matches(string? given) =>
        digest is not null && given is not null && CryptographicOperations.FixedTimeEquals(Digest(given), digest);

    /// <summary>Is it the cookie?</summary>
    public bool MatchesCookie(string? given) =>
        digest is not null && given is not null && CryptographicOperations.FixedTimeEquals(Digest(given), Digest(Cookie));

    /// <summary>
    /// Lets time pass before a wrong token is answered, wherever it was given: one after the other, a second each. The right one never
    /// waits.
    /// </summary>
    public async Task SlowDownAsync(CancellationToken cancellation)
    {
        await guess.WaitAsync(cancellation);
        try
        {
            await Task.Delay(GuessTime, time ?? TimeProvider.System, cancellation);
        }
        finally
        {
            guess.Release();
        }
    }

    private static byte[] Digest(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
