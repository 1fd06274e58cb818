using System.Globalization;
using System.Net;

namespace Rlhf.Hub;

/// <summary>What an answer of the Hub means: its headers, and a sentence for each way to fail.</summary>
internal static class HubAnswer
{
    /// <summary>A header's first value, or null.</summary>
    public static string? Header(HttpResponseMessage response, string name)
    {
        if (response.Headers.NonValidated.TryGetValues(name, out var values)
            || response.Content.Headers.NonValidated.TryGetValues(name, out values))
            foreach (var value in values)
                return value;
        return null;
    }

    /// <summary>Refuses every status but success.</summary>
    /// <exception cref="HubTransientException">It may be better next time.</exception>
    /// <exception cref="HubException">It will not.</exception>
    public static void ThrowIfFailed(HttpResponseMessage response, HubCall call, HubOptions options)
    {
        if (!response.IsSuccessStatusCode)
            throw Failure(response, call, options);
    }

    private static Exception Failure(HttpResponseMessage response, HubCall call, HubOptions options)
    {
        var (status, subject) = (response.StatusCode, call.Subject);
        string host = options.Endpoint.Host;
        if (status is HttpStatusCode.TooManyRequests)
            return new HubTransientException(HubError.Unavailable,
                $"The Hub limits how often it is asked (429), here for {subject.What}; try again later"
                + $"{(options.Token is null ? ", or set HF_TOKEN for a higher limit" : "")}.")
            { RetryAfter = RetryAfter(response, options.TimeProvider) };
        if (status is HttpStatusCode.RequestTimeout || (int)status is >= 500 and not (501 or 505))
            return new HubTransientException(HubError.Unavailable,
                $"{call.Address.Authority} failed with status {(int)status} for {subject.What}; try again later.")
            { RetryAfter = RetryAfter(response, options.TimeProvider) };
        var answering = response.RequestMessage?.RequestUri ?? call.Address;
        if (!HubHttp.SameHost(answering, options.Endpoint))
            return new HubTransientException(HubError.Unavailable, // a signature that ran out is made anew by the next attempt
                $"The Hub's storage ({answering.Host}) answered {(int)status} for {subject.What}.");
        bool sent = options.Token is not null && (call.Access == HubAccess.Token || options.ImplicitToken);
        string page = subject.Repo is { } r ? $"{options.Endpoint}{r.PagePath}" : options.Endpoint.ToString();
        string revision = subject.Revision ?? "main";
        return (Header(response, "X-Error-Code"), (int)status) switch
        {
            ("GatedRepo", _) => new HubException(HubError.Gated,
                $"The {subject.Repo} is gated: ask for access at {page} and "
                + (sent ? "use a token of that account." : "set HF_TOKEN to a token of that account.")),
            ("DisabledRepo", _) => new HubException(HubError.Forbidden, $"The {subject.Repo} has been disabled by the Hub."),
            ("RevisionNotFound", _) => new HubException(HubError.RevisionNotFound,
                $"The {subject.Repo} has no revision '{HubText.Clean(revision)}'; name one of its branches, tags or commits."),
            ("EntryNotFound", _) => new HubException(HubError.EntryNotFound,
                $"The {subject.Repo} has no file {HubText.Clean(subject.File)} in revision {HubText.Clean(revision)}."),
            ("RepoNotFound", _) or (_, 401) when subject.Repo is not null && !sent => new HubException(
                HubError.RepositoryNotFound,
                $"{host} shows no {subject.Repo}: correct the name, or set HF_TOKEN if it is private."),
            ("RepoNotFound", _) => new HubException(HubError.RepositoryNotFound,
                $"{host} shows no {subject.Repo} to the owner of the token: correct the name, or use another token."),
            (_, 401) => new HubException(HubError.Unauthorized,
                $"{host} {(sent ? "refuses the token" : "asks for a token")} (401) for {subject.What}; "
                + $"make {(sent ? "a new one" : "one")} at {options.Endpoint}settings/tokens and set HF_TOKEN."),
            (_, 403) => new HubException(HubError.Forbidden, $"{host} forbids {subject.What} (403){Said(response)}; "
                + (sent ? "use a token that may do it." : "set HF_TOKEN to a token that may do it.")),
            (_, 404) when subject.File is not null => new HubException(HubError.EntryNotFound,
                $"The {subject.Repo} has no file {HubText.Clean(subject.File)} in revision {HubText.Clean(revision)}."),
            (_, 404) when subject.Repo is not null => new HubException(HubError.RepositoryNotFound,
                $"{host} shows no {subject.Repo} at revision {HubText.Clean(revision)} (404); correct the name."),
            (_, >= 300 and < 400) => new HubException(HubError.Protocol,
                $"{host} redirects {subject.What} to another host, which was refused."),
            _ => new HubException(HubError.Protocol, $"{host} answered {(int)status} for {subject.What}{Said(response)}."),
        };
    }

    public static HubException NotTheHub(HubCall call, Exception? inner = null) => new(HubError.Protocol,
        $"{call.Address.Authority} does not answer as the Hub does for {call.Subject.What}; check HF_ENDPOINT and the proxy.",
        inner);

    public static HubException TooLarge(HubCall call) =>
        new(HubError.Protocol, $"{call.Address.Authority} gave an answer of unreasonable size for {call.Subject.What}.");

    private static string Said(HttpResponseMessage response) =>
        Header(response, "X-Error-Message") is { Length: > 0 } message ? $": {HubText.Clean(message).TrimEnd('.')}" : "";

    private static TimeSpan? RetryAfter(HttpResponseMessage response, TimeProvider time)
    {
        if (response.Headers.RetryAfter is not { } header)
            return null;
        var wait = header.Delta ?? (header.Date is { } date ? date - time.GetUtcNow() : null);
        return wait is { } w && w > TimeSpan.Zero ? w : null;
    }

    /// <summary>A number that a header gives, or null.</summary>
    public static long? Number(string? text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;
}
