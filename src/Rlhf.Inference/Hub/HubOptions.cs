using System.Globalization;
using System.Text.RegularExpressions;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;

namespace Rlhf.Hub;

/// <summary>Where the Hub and its cache are. The variables and defaults are huggingface_hub's own.</summary>
public sealed partial record HubOptions
{
    /// <summary>The Hub (HF_ENDPOINT). Default https://huggingface.co.</summary>
    public Uri Endpoint { get; init; } = new("https://huggingface.co/");

    /// <summary>The cache (HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else <c>hub</c> in HF_HOME).</summary>
    public required string CacheFolder { get; init; }

    /// <summary>Access token, sent to <see cref="Endpoint"/> and nowhere else (HF_TOKEN, else the file HF_TOKEN_PATH).</summary>
    public string? Token { get; init; }

    /// <summary>Send the token where it is not demanded, as for downloads. False: HF_HUB_DISABLE_IMPLICIT_TOKEN.</summary>
    public bool ImplicitToken { get; init; } = true;

    /// <summary>Use the cache alone (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE).</summary>
    public bool Offline { get; init; }

    /// <summary>The variable that made it <see cref="Offline"/>, for messages.</summary>
    internal string OfflineVariable { get; init; } = "HF_HUB_OFFLINE";

    /// <summary>Link from snapshots to blobs where the file system can. False: HF_HUB_DISABLE_SYMLINKS.</summary>
    public bool Symlinks { get; init; } = true;

    /// <summary>Longest wait for an answer about a file or repository (HF_HUB_ETAG_TIMEOUT). Default 10 s.</summary>
    public TimeSpan EtagTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Longest silence in a download (HF_HUB_DOWNLOAD_TIMEOUT). Default 10 s.</summary>
    public TimeSpan DownloadTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Longest silence in an upload, and wait for an answer to one. Default 2 minutes.</summary>
    public TimeSpan UploadTimeout { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Files that are transferred at the same time. Default 8.</summary>
    public int Parallel { get; init; } = 8;

    /// <summary>Further attempts after one that failed without bringing anything. Default 5.</summary>
    public int Retries { get; init; } = 5;

    /// <summary>Wait before the first further attempt; it doubles each time, to at most 30 times this. Default 1 s.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Longest wait that a server may ask for (Retry-After); more is an error. Default 5 minutes.</summary>
    public TimeSpan LongestRetryAfter { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>The clock that waits.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Free bytes on the disk of a folder; replaced in tests.</summary>
    internal Func<string, long> FreeSpace { get; init; } = SpaceOf;

    /// <summary>The settings without the token.</summary>
    public override string ToString() => $"HubOptions {{ Endpoint = {Endpoint}, CacheFolder = {CacheFolder}, "
        + $"Token = {(Token is null ? "none" : "set")}, Offline = {Offline} }}";

    /// <summary>Reads huggingface_hub's variables, and the token's file.</summary>
    /// <param name="variable">Gives a variable or null; null reads the process's environment.</param>
    /// <exception cref="ConfigurationException">A variable has a value that cannot be used; lists all of them.</exception>
    public static HubOptions FromEnvironment(Func<string, string?>? variable = null)
    {
        var read = variable ?? Environment.GetEnvironmentVariable;
        string? Value(params string[] names) => names.Select(read).FirstOrDefault(value => !string.IsNullOrEmpty(value));
        bool Flag(params string[] names) => Value(names)?.ToUpperInvariant() is "1" or "ON" or "YES" or "TRUE";

        var problems = new List<string>();
        string user = Value("HOME", "USERPROFILE") ?? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        string Folder(string path) => Path.GetFullPath(Expand(path, user, read));
        string home = Folder(Value("HF_HOME")
            ?? Path.Combine(Value("XDG_CACHE_HOME") ?? Path.Combine(user, ".cache"), "huggingface"));
        var endpoint = ReadEndpoint(Value("HF_ENDPOINT"), problems);
        string? token = Value("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")?.Trim() is { Length: > 0 } given ? given
            : ReadTokenFile(Folder(Value("HF_TOKEN_PATH") ?? Path.Combine(home, "token")));
        if (token is not null && token.Any(c => c is <= ' ' or > '~'))
            problems.Add("The Hub's token (HF_TOKEN, or the token file) holds characters that no token has; copy it again.");
        var options = new HubOptions
        {
            Endpoint = endpoint,
            CacheFolder = Folder(Value("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") ?? Path.Combine(home, "hub")),
            Token = token,
            ImplicitToken = !Flag("HF_HUB_DISABLE_IMPLICIT_TOKEN"),
            Offline = Flag("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
            OfflineVariable = Value("HF_HUB_OFFLINE") is null && Flag("TRANSFORMERS_OFFLINE") ? "TRANSFORMERS_OFFLINE" : "HF_HUB_OFFLINE",
            Symlinks = !Flag("HF_HUB_DISABLE_SYMLINKS"),
            EtagTimeout = Seconds("HF_HUB_ETAG_TIMEOUT"),
            DownloadTimeout = Seconds("HF_HUB_DOWNLOAD_TIMEOUT"),
        };
        ConfigurationException.ThrowIfAny(problems);
        return options;

        TimeSpan Seconds(string name)
        {
            if (Value(name) is not { } text)
                return TimeSpan.FromSeconds(10);
            if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int seconds)
                && seconds is > 0 and <= 86_400)
                return TimeSpan.FromSeconds(seconds);
            problems.Add($"{name} is '{HubText.Clean(text)}'; it must be a number of seconds from 1 to 86400.");
            return TimeSpan.FromSeconds(10);
        }
    }

    private static Uri ReadEndpoint(string? text, List<string> problems)
    {
        if (text is null)
            return new("https://huggingface.co/");
        if (Uri.TryCreate(text.TrimEnd('/') + "/", UriKind.Absolute, out var uri) && uri.Scheme is "https" or "http"
            && uri.UserInfo == "" && uri.Query == "" && uri.Fragment == "")
            return uri;
        // Not quoted: an address with a password in it must not reach a log.
        problems.Add("HF_ENDPOINT is no address such as https://huggingface.co.");
        return new("https://huggingface.co/");
    }

    private static long SpaceOf(string folder)
    {
        try
        {
            return new DriveInfo(Path.GetFullPath(folder)).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return long.MaxValue; // a share that does not say
        }
    }

    private static string? ReadTokenFile(string path)
    {
        try
        {
            return RegularFile.Exists(path) && new FileInfo(path).Length <= 4096
                && File.ReadAllText(path).Trim() is { Length: > 0 } token ? token : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // as if nobody were logged in
        }
    }

    private static string Expand(string path, string user, Func<string, string?> variable)
    {
        string home = path == "~" || path.StartsWith("~/", StringComparison.Ordinal) ? user + path[1..] : path;
        return Variable().Replace(home, name => variable(name.Groups[1].Value) ?? name.Value);
    }

    [GeneratedRegex(@"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")]
    private static partial Regex Variable();
}
