using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Generation;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Serving;

/// <summary>The body of a request for a chat's next message, as OpenAI's clients send it.</summary>
internal sealed record ChatRequest : SamplingRequest
{
    private const int MostLogprobs = 20;
    private const string NoTools = "models here call no tools";

    public JsonElement Messages { get; init; }

    public int? MaxTokens { get; init; }

    public int? MaxCompletionTokens { get; init; }

    public bool? Logprobs { get; init; }

    public int? TopLogprobs { get; init; }

    /// <summary>Further variables of the template, such as <c>enable_thinking</c>; other servers of open models have this field, too.</summary>
    public JsonElement ChatTemplateKwargs { get; init; }

    public JsonElement Tools { get; init; }

    public JsonElement ToolChoice { get; init; }

    public JsonElement Functions { get; init; }

    public JsonElement FunctionCall { get; init; }

    /// <summary>Says nothing without tools.</summary>
    public bool? ParallelToolCalls { get; init; }

    public JsonElement ResponseFormat { get; init; }

    public JsonElement Modalities { get; init; }

    public JsonElement Audio { get; init; }

    public JsonElement Prediction { get; init; }

    public JsonElement WebSearchOptions { get; init; }

    public JsonElement ReasoningEffort { get; init; }

    public JsonElement Verbosity { get; init; }

    public bool? Store { get; init; }

    /// <summary>For the server's own records, as the next three; nothing is done with them.</summary>
    public JsonElement Metadata { get; init; }

    public string? ServiceTier { get; init; }

    public string? SafetyIdentifier { get; init; }

    public string? PromptCacheKey { get; init; }

    /// <summary>Most tokens of an answer; null: what the model has room for, within the default.</summary>
    [JsonIgnore]
    public int? NewTokens => MaxCompletionTokens ?? MaxTokens;

    /// <summary>How the answers are written.</summary>
    /// <exception cref="RequestException">Lists every problem.</exception>
    public CompletionOptions Options()
    {
        List<FieldProblem> problems = [];
        Refuse(problems, IsGiven(Tools), "tools", why: NoTools);
        Refuse(problems, IsGiven(Functions), "functions", why: NoTools);
        Refuse(problems, IsGiven(ToolChoice) && !IsText(ToolChoice, "none", "auto"), "tool_choice", why: NoTools);
        Refuse(problems, IsGiven(FunctionCall) && !IsText(FunctionCall, "none", "auto"), "function_call", why: NoTools);
        Refuse(problems, IsGiven(ResponseFormat) && !IsPlainFormat(ResponseFormat), "response_format",
            "response_format other than {\"type\": \"text\"}", "no answer is promised to be JSON");
        Refuse(problems, IsGiven(Audio), "audio", why: "models here write texts");
        Refuse(problems, IsGiven(Modalities) && !(Modalities.ValueKind == JsonValueKind.Array
            && Modalities.EnumerateArray().All(m => IsText(m, "text"))), "modalities", "modalities other than text");
        Refuse(problems, IsGiven(Prediction), "prediction");
        Refuse(problems, IsGiven(WebSearchOptions), "web_search_options");
        Refuse(problems, IsGiven(ReasoningEffort), "reasoning_effort");
        Refuse(problems, IsGiven(Verbosity), "verbosity");
        Refuse(problems, Store == true, "store", why: "no conversation is kept here");
        foreach (var (name, most) in new[] { ("max_tokens", MaxTokens), ("max_completion_tokens", MaxCompletionTokens) })
            if (most is < 1)
                problems.Add(new(name, $"{name} is {most}; it must be at least 1."));
        if (MaxTokens is { } older && MaxCompletionTokens is { } newer && older != newer)
            problems.Add(new("max_tokens", $"max_tokens is {older} and max_completion_tokens is {newer}; they mean the same, so give one of them."));
        if (TopLogprobs is < 0 or > MostLogprobs)
            problems.Add(new("top_logprobs", $"top_logprobs is {TopLogprobs}; it must be from 0 to {MostLogprobs}."));
        else if (TopLogprobs is not null && Logprobs != true)
            problems.Add(new("top_logprobs", "top_logprobs needs logprobs to be true."));
        if (IsGiven(ChatTemplateKwargs) && ChatTemplateKwargs.ValueKind != JsonValueKind.Object)
            problems.Add(new("chat_template_kwargs", "chat_template_kwargs must be an object such as {\"enable_thinking\": false}."));
        var options = Options(NewTokens ?? 1, Logprobs == true ? TopLogprobs ?? 0 : null, problems);
        RequestException.ThrowIfAny(problems);
        return options;
    }

    /// <summary>The conversation.</summary>
    /// <exception cref="RequestException">Lists every problem.</exception>
    public IReadOnlyList<ChatMessage> Conversation()
    {
        List<FieldProblem> problems = [];
        var messages = RequestMessages.Read(Messages, problems);
        RequestException.ThrowIfAny(problems);
        return messages;
    }

    /// <summary>What the template is given besides the messages.</summary>
    public ChatRenderOptions Rendering() => ChatTemplateKwargs.ValueKind != JsonValueKind.Object ? new() : new()
    {
        Variables = ChatTemplateKwargs.EnumerateObject().DistinctBy(p => p.Name).ToDictionary(p => p.Name, p => p.Value),
    };

    /// <summary>Is a field there, with something in it?</summary>
    private static bool IsGiven(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Undefined or JsonValueKind.Null => false,
        JsonValueKind.Array => value.GetArrayLength() > 0,
        _ => true,
    };

    private static bool IsText(JsonElement value, params string[] texts) =>
        value.ValueKind == JsonValueKind.String && texts.Any(value.ValueEquals);

    private static bool IsPlainFormat(JsonElement format) =>
        format.ValueKind == JsonValueKind.Object && format.TryGetProperty("type", out var type) && IsText(type, "text");
}
