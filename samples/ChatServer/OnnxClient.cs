using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using Microsoft.ML.OnnxRuntimeGenAI;

/// <summary>ONNX Runtime GenAI's chat client over a folder that rlhf export wrote, without the piece too many at the end of its answers.</summary>
/// <remarks>
/// GenAI keeps the end token out of the sequence of tokens, and its client (0.18.0) gives the last token of that sequence after each step: "Is there
/// anything else??". So one token more is asked for, and the last piece is left out, which is either that repetition or the token beyond what was
/// asked for. Where the model's context ends first, that is one token less. Leave StopSequences out: behind them nothing is repeated.
/// </remarks>
internal sealed class OnnxClient(string folder) : DelegatingChatClient(new OnnxRuntimeGenAIChatClient(folder, Prompts(folder)))
{
    public override Task<ChatResponse> GetResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

    public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        int? most = options?.MaxOutputTokens;
        if (most is not null)
        {
            options = options!.Clone();
            options.MaxOutputTokens = most + 1;
        }
        ChatResponseUpdate? held = null;
        await foreach (var update in base.GetStreamingResponseAsync(messages, options, cancellationToken))
        {
            // The last update says how many tokens were written.
            if (update.Contents.OfType<UsageContent>().FirstOrDefault() is { Details: var usage })
            {
                usage.OutputTokenCount = Math.Min(usage.OutputTokenCount ?? 0, most ?? int.MaxValue);
                usage.TotalTokenCount = usage.InputTokenCount + usage.OutputTokenCount;
                yield return update;
                continue;
            }
            if (held is not null)
                yield return held;
            held = update;
        }
    }

    // Without options the client takes the template of the folder; a model without one continues the text itself.
    private static OnnxRuntimeGenAIChatClientOptions? Prompts(string folder) =>
        File.Exists(Path.Combine(folder, "chat_template.jinja"))
            || (Path.Combine(folder, "tokenizer_config.json") is var file && File.Exists(file) && File.ReadAllText(file).Contains("\"chat_template\""))
            ? null
            : new() { PromptFormatter = (messages, _) => string.Join('\n', messages.Select(m => m.Text)) };
}
