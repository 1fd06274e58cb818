using System.Net;
using Rlhf.Reporting;
using TorchSharp;

namespace Rlhf.Studio;

/// <summary>What a studio serves, and to whom.</summary>
public sealed record StudioOptions
{
    /// <summary>Shortest token that is accepted, in characters.</summary>
    public const int ShortestToken = 12;

    /// <summary>The environment variable that may hold the token.</summary>
    public const string TokenVariable = "RLHF_STUDIO_TOKEN";

    /// <summary>The folder whose runs are shown; it need not exist yet.</summary>
    public string RunsFolder { get; init; } = "runs";

    /// <summary>Where to listen: an address of this machine. Any but a loopback address needs a <see cref="Token"/>.</summary>
    public IPAddress Address { get; init; } = IPAddress.Loopback;

    /// <summary>TCP port; 0 takes a free one.</summary>
    public int Port { get; init; } = 5080;

    /// <summary>What every request must show, by a cookie, a query parameter or a bearer header; null: nothing is asked.</summary>
    public string? Token { get; init; }

    /// <summary>The aligned model of the playground; null: the newest run's that saved one.</summary>
    public string? Model { get; init; }

    /// <summary>
    /// What it is compared with; null: what its run began with, where that lies in the runs folder, else the shipped one.
    /// </summary>
    public string? BaseModel { get; init; }

    /// <summary>The reward of an answer; null: no rewards are shown.</summary>
    public string? RewardModel { get; init; }

    /// <summary>A second scorer that training did not see, or null.</summary>
    public string? Judge { get; init; }

    /// <summary>The base model to fall back on, or null.</summary>
    public string? ShippedModel { get; init; }

    /// <summary>
    /// The chat template of models that have none of their own: a file with Jinja, or <c>chatml</c>, the built-in one; null: such models know
    /// no messages.
    /// </summary>
    public string? ChatTemplate { get; init; }

    /// <summary>A JSON-lines file of ready beginnings (<c>query</c> of each line), or null.</summary>
    public string? Queries { get; init; }

    /// <summary>A file of pairs to label, or null; those in the runs folder are found as well.</summary>
    public string? Pairs { get; init; }

    /// <summary>Where the labels of <see cref="Pairs"/> go; null: <c>-labelled.jsonl</c> beside them.</summary>
    public string? Labels { get; init; }

    /// <summary>Labeling shows about one in this many pairs a second time, with the answers swapped; 0: none.</summary>
    public int RepeatEvery { get; init; } = 12;

    /// <summary>How a run is started or resumed: program and first arguments, before the verb. Empty: it cannot be.</summary>
    public IReadOnlyList<string> Command { get; init; } = [];

    /// <summary>
    /// Makes the report of a run's folder, for a run that has none or has been resumed since; returns the page. Null: only reports that are
    /// there are shown.
    /// </summary>
    public Func<string, string>? MakeReport { get; init; }

    /// <summary>Loads libtorch and finds the device; called once, when a model is first needed. Null: the CPU.</summary>
    public Func<torch.Device>? StartDevice { get; init; }

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (Port is < 0 or > 65535)
            yield return $"Port is {Port}; it must be from 0 (any free one) to 65535.";
        if (Token is { Length: < ShortestToken })
            yield return $"Token has {Numbers.Count(Token.Length, "character")}; it must have at least {ShortestToken}.";
        if (Token is null && !IPAddress.IsLoopback(Address))
            yield return $"Host is {Address}, which other machines can reach: set a Token as well, or leave Host out.";
        if (string.IsNullOrWhiteSpace(RunsFolder))
            yield return "Runs is empty; name the folder that holds the runs.";
        if (Pairs is not null && !File.Exists(Pairs))
            yield return $"Pairs is {Pairs}, where no file is; rlhf pairs sample makes one.";
        if (Labels is not null && Pairs is null)
            yield return "Labels is where the labels of Pairs go: set that, too.";
        else if (Labels is not null && Path.GetExtension(Labels) != ".jsonl")
            yield return $"Labels is {Labels}; give it the extension .jsonl.";
        else if (Labels is not null && Path.GetFullPath(Labels) == Path.GetFullPath(Pairs!))
            yield return "Labels and Pairs are the same file; the labels need one of their own.";
        else if (Labels is not null && !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(Labels))))
            yield return $"Labels is {Labels}, whose folder is not there.";
        if (RepeatEvery is not (0 or (>= 3 and <= 1000)))
            yield return $"RepeatEvery is {RepeatEvery}; it must be 0 (no pair is shown again) or from 3 to 1000.";
    }
}
