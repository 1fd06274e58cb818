using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Generation;

namespace Rlhf.Serving;

/// <summary>What requests for texts and for chats have in common. What would change the text and is not supported is refused.</summary>
internal abstract record SamplingRequest
{
    protected const int MostChoices = 64;

    public string? Model { get; init; }

    public double? Temperature { get; init; }

    public double? TopP { get; init; }

    public int? TopK { get; init; }

    public double? MinP { get; init; }

    public double? RepetitionPenalty { get; init; }

    public int? N { get; init; }

    public bool? Stream { get; init; }

    public StreamingOptions? StreamOptions { get; init; }

    public JsonElement Stop { get; init; }

    public long? Seed { get; init; }

    public double? FrequencyPenalty { get; init; }

    public double? PresencePenalty { get; init; }

    public JsonElement LogitBias { get; init; }

    /// <summary>Who asks, for the server's own records; nothing is done with it.</summary>
    public string? User { get; init; }

    internal sealed record StreamingOptions(bool IncludeUsage = false, bool? IncludeObfuscation = null);

    /// <summary>Fields that no such request has.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; init; }

    [JsonIgnore]
    public int Choices => N ?? 1;

    [JsonIgnore]
    public bool IncludesUsage => StreamOptions?.IncludeUsage == true;

    /// <summary>How the texts are written.</summary>
    /// <param name="newTokens">Most tokens of a text.</param>
    /// <param name="topLogprobs">How many of the likeliest tokens are asked for beside each; null: no logprobs.</param>
    /// <param name="problems">Gets what is wrong with these fields.</param>
    protected CompletionOptions Options(int newTokens, int? topLogprobs, List<FieldProblem> problems)
    {
        problems.AddRange((Unknown ?? []).Keys.Select(name => new FieldProblem(name, $"Unrecognized request argument supplied: {name}")));
        Refuse(problems, FrequencyPenalty is not (null or 0), "frequency_penalty");
        Refuse(problems, PresencePenalty is not (null or 0), "presence_penalty");
        Refuse(problems, LogitBias.ValueKind is JsonValueKind.Object && LogitBias.EnumerateObject().Any(), "logit_bias");
        if (N is < 1 or > MostChoices)
            problems.Add(new("n", $"n is {N}; it must be from 1 to {MostChoices}."));
        if (Temperature is < 0 or > 2)
            problems.Add(new("temperature", FormattableString.Invariant(
                $"temperature is {Temperature}; it must be from 0 (the most likely text) to 2.")));
        var sampling = new GenerationConfig
        {
            DoSample = Temperature is not 0,
            Temperature = Temperature is { } t and > 0 ? t : 1,
            TopP = TopP ?? 1,
            TopK = TopK ?? 0,
            MinP = MinP,
            RepetitionPenalty = RepetitionPenalty ?? 1,
            MaxNewTokens = Math.Max(1, newTokens),
        };
        problems.AddRange(sampling.Validate().Select(OfSampling));
        return new()
        {
            Sampling = sampling,
            Stop = JsonTexts.Read(Stop, "stop", problems),
            Seed = Seed ?? Random.Shared.NextInt64(),
            TopLogprobs = topLogprobs,
        };
    }

    protected static void Refuse(List<FieldProblem> problems, bool asked, string name, string? which = null, string? why = null)
    {
        if (asked)
            problems.Add(new(name, $"{which ?? name} is not supported{(why is null ? "" : ": " + why)}; leave it out."));
    }

    /// <summary>A problem that the library has with a setting, such as "TopP is 2; …", as one of the request's field.</summary>
    private static FieldProblem OfSampling(string problem)
    {
        int end = problem.IndexOf(' ');
        string field = ApiErrors.Json.PropertyNamingPolicy!.ConvertName(problem[..end]);
        return new(field, field + problem[end..]);
    }
}
