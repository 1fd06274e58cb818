using System.Text;
using LLama;
using LLama.Abstractions;
using LLama.Common;
using LLama.Native;
using Microsoft.Extensions.AI;

/// <summary>LLamaSharp's chat clients over the weights of one GGUF file, with the chat template in it.</summary>
internal sealed class LlamaClients : IDisposable
{
    private readonly LLamaWeights _weights;
    private readonly ModelParams _parameters;

    public LlamaClients(string file)
    {
        NativeLibraryConfig.All.WithLogCallback((_, _) => { }); // llama.cpp says much on standard error
        _parameters = new(file);
        _weights = LLamaWeights.LoadFromFile(_parameters);
        _parameters.ContextSize = Math.Min((uint)_weights.ContextSize, 4096); // memory of one request
    }

    /// <summary>A client for one request: an executor holds the text that it writes, so that two requests at once need two.</summary>
    public IChatClient Create() => new StatelessExecutor(_weights, _parameters).AsChatClient(new Template(_weights), new Untouched());

    public void Dispose() => _weights.Dispose();

    // Without this, LLamaSharp writes "User: …" and "Assistant: " around the messages, which a model with a template of its own has never seen.
    private sealed class Template(LLamaWeights weights) : IHistoryTransform
    {
        public string HistoryToText(ChatHistory history)
        {
            if (!weights.Metadata.ContainsKey("tokenizer.chat_template"))
                return string.Join('\n', history.Messages.Select(m => m.Content));
            var template = new LLamaTemplate(weights) { AddAssistant = true };
            foreach (var message in history.Messages)
                template.Add(message.AuthorRole.ToString().ToLowerInvariant(), message.Content);
            return Encoding.UTF8.GetString(template.Apply());
        }

        public ChatHistory TextToHistory(AuthorRole role, string text) => new([new(role, text)]);

        public IHistoryTransform Clone() => this;
    }

    // Without this, LLamaSharp cuts "User:" and the like out of answers.
    private sealed class Untouched : ITextStreamTransform
    {
        public IAsyncEnumerable<string> TransformAsync(IAsyncEnumerable<string> tokens) => tokens;

        public ITextStreamTransform Clone() => this;
    }
}
