using System.Text.Json;
using Rlhf.Runtime.Text;
using Rlhf.Tokenizers.Chat.Jinja;

namespace Rlhf.Tokenizers.Chat;

/// <summary>
/// Writes a conversation as the text that a model was trained on, by the Jinja template in its tokenizer's files, exactly as
/// transformers' <c>apply_chat_template</c> does.
/// </summary>
/// <remarks>
/// Templates come from strangers: they reach nothing but the variables they are given, and what they may use is limited
/// (20 million steps, 16 million characters of output, 600 levels of nesting). Instances are immutable and safe to use from several threads.
/// </remarks>
public sealed class ChatTemplate
{
    /// <summary>No published template has a twentieth of it.</summary>
    private const int LongestSource = 1 << 20;

    private const string ContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";

    private readonly string _name;
    private readonly IReadOnlyList<(string Name, string Source)> _sources;
    private readonly Dictionary<string, Lazy<IReadOnlyList<Statement>>> _templates;

    internal ChatTemplate(string name, IReadOnlyList<(string Name, string Source)> templates, IReadOnlyDictionary<string, object?> specialTokens)
    {
        _name = name;
        _sources = templates;
        SpecialTokens = specialTokens;
        _templates = new(StringComparer.Ordinal);
        foreach (var (key, source) in templates)
            _templates[key] = new(() => Parse(source));
    }

    /// <summary>Reads the default template's source, so that what is wrong with it is said before any conversation is.</summary>
    /// <exception cref="ChatTemplateException">It is not a template.</exception>
    internal ChatTemplate Checked()
    {
        if (_templates.TryGetValue("default", out var standard))
            _ = standard.Value;
        return this;
    }

    /// <summary>What names <see cref="ChatMl"/> where a file could be named.</summary>
    internal const string BuiltInName = "chatml";

    /// <summary>
    /// The built-in template for models without one of their own: ChatML, each message between &lt;|im_start|&gt; and &lt;|im_end|&gt;;
    /// what the assistant says is marked.
    /// </summary>
    public static ChatTemplate ChatMl { get; } = FromText(
        "{% for message in messages %}"
        + "{% set content = message['content'] if message['content'] is string else message['content']|map(attribute='text')|join %}"
        + "{{ '<|im_start|>' + message['role'] + '\\n' }}"
        + "{% if message['role'] == 'assistant' %}{% generation %}{{ content + '<|im_end|>' }}{% endgeneration %}"
        + "{% else %}{{ content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}", "The built-in ChatML template");

    /// <summary>Names of the templates; a single one is called default.</summary>
    public IReadOnlyCollection<string> Names => _templates.Keys;

    /// <summary>Names and sources of the templates.</summary>
    internal IReadOnlyList<(string Name, string Source)> Sources => _sources;

    /// <summary>bos_token, eos_token and the like, as templates see them.</summary>
    internal IReadOnlyDictionary<string, object?> SpecialTokens { get; }

    /// <summary>A template from its source.</summary>
    /// <param name="source">Jinja.</param>
    /// <param name="name">What messages call it.</param>
    /// <param name="specialTokens">Tokens by role, such as <c>bos_token</c>; null is none.</param>
    /// <exception cref="ChatTemplateException">The source is not a template.</exception>
    public static ChatTemplate FromText(
        string source, string name = "The chat template", IReadOnlyDictionary<string, string>? specialTokens = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        return new ChatTemplate(name, [("default", source)],
            (specialTokens ?? new Dictionary<string, string>()).ToDictionary(x => x.Key, x => (object?)x.Value, StringComparer.Ordinal)).Checked();
    }

    /// <summary>The template of a tokenizer's folder.</summary>
    /// <param name="folder">A model folder.</param>
    /// <exception cref="ChatTemplateException">The folder has no template, or what it has is not one.</exception>
    /// <exception cref="InvalidDataException">A tokenizer file cannot be read.</exception>
    public static ChatTemplate FromFolder(string folder) => (TryFromFolder(folder) ?? throw Missing(folder)).Checked();

    /// <summary>The template of a tokenizer's folder, or null where it has none. Its source is read when it is first used.</summary>
    /// <param name="folder">A model folder.</param>
    /// <exception cref="InvalidDataException">A tokenizer file cannot be read.</exception>
    public static ChatTemplate? TryFromFolder(string folder) => ChatTemplateFiles.Read(folder);

    /// <summary>A template from a file, with the special tokens of a tokenizer's folder.</summary>
    /// <param name="file">Jinja, or <c>chatml</c> for the built-in one.</param>
    /// <param name="folder">The tokenizer's folder; null is no special tokens.</param>
    /// <exception cref="ChatTemplateException">The file is not a template.</exception>
    public static ChatTemplate FromFile(string file, string? folder = null) => ChatTemplateFiles.ReadFile(file, folder).Checked();

    /// <summary>Writes a conversation as text.</summary>
    /// <param name="messages">The messages.</param>
    /// <param name="options">What else the template is given; null is nothing.</param>
    /// <exception cref="ChatTemplateException">The template refuses the conversation or fails.</exception>
    public string Render(IReadOnlyList<ChatMessage> messages, ChatRenderOptions? options = null) => RenderText(messages, options).Text;

    /// <summary>Writes a conversation as text and says which parts of it the assistant says.</summary>
    /// <param name="messages">The messages.</param>
    /// <param name="options">What else the template is given; null is nothing.</param>
    /// <exception cref="ChatTemplateException">The template refuses the conversation or fails.</exception>
    public RenderedText RenderText(IReadOnlyList<ChatMessage> messages, ChatRenderOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        options ??= new();
        if (messages.Count == 0)
            throw new ChatTemplateException("The conversation has no messages.");
        var body = Choose(options).Value;
        var final = "";
        if (options.ContinueFinalMessage)
            messages = WithTag(messages, options, out final);
        var run = new JinjaRun(options.Now ?? DateTimeOffset.Now);
        try
        {
            run.Render(body, Variables(run, messages, options));
        }
        catch (JinjaException e)
        {
            throw ChatTemplateException.At(_name, e);
        }
        var text = run.Root.ToString();
        return new(options.ContinueFinalMessage ? WithoutTag(text, final) : text, run.Generated);
    }

    /// <summary>The template has <c>{% generation %}</c> blocks, which mark what the assistant says.</summary>
    /// <param name="options">Chooses among several templates.</param>
    public bool MarksAnswers(ChatRenderOptions? options = null) => Choose(options ?? new()).Value.Any(HasGeneration);

    /// <summary>
    /// Writes the templates where transformers finds them: chat_template.jinja, and further ones in additional_chat_templates/.
    /// </summary>
    /// <param name="folder">A model folder.</param>
    public void Save(string folder) => ChatTemplateFiles.Write(folder, _sources);

    /// <summary>What to do about a folder without a template.</summary>
    internal static ChatTemplateException Missing(string folder) => new(
        $"{folder} has no chat template: name a file with one by --chat-template FILE, or take the built-in ChatML by --chat-template chatml.");

    private static bool HasGeneration(Statement statement) =>
        statement is GenerationStatement || statement.Inner.Any(HasGeneration);

    private IReadOnlyList<Statement> Parse(string source)
    {
        if (source.Length > LongestSource)
            throw new ChatTemplateException($"{_name} has more than {LongestSource:N0} characters.");
        try
        {
            return JinjaParser.Parse(source);
        }
        catch (JinjaException e)
        {
            throw ChatTemplateException.At(_name, e);
        }
    }

    private Lazy<IReadOnlyList<Statement>> Choose(ChatRenderOptions options)
    {
        if (options.Template is { } name)
            return _templates.GetValueOrDefault(name)
                ?? throw new ChatTemplateException($"{_name} has no template {UntrustedText.Quote(name)}; it has {Listed()}.");
        if (options.Tools is { ValueKind: not JsonValueKind.Null } && _templates.TryGetValue("tool_use", out var withTools))
            return withTools;
        return _templates.GetValueOrDefault("default")
            ?? throw new ChatTemplateException($"{_name} has several templates and none is the default; name one of {Listed()}.");
    }

    private string Listed() => string.Join(", ", _templates.Keys.Order(StringComparer.Ordinal).Select(x => UntrustedText.Clean(x)));

    private Scope Variables(JinjaRun run, IReadOnlyList<ChatMessage> messages, ChatRenderOptions options)
    {
        var scope = new Scope(null);
        JinjaGlobals.AddTo(scope, run);
        foreach (var (name, value) in SpecialTokens)
            scope.Set(name, value);
        foreach (var (name, value) in options.Variables)
            scope.Set(name, PyJson.FromElement(value));
        scope.Set("messages", messages.Select(x => (object?)PyJson.FromProperties(x.Fields)).ToList());
        scope.Set("tools", options.Tools is { } tools ? PyJson.FromElement(tools) : null);
        scope.Set("documents", options.Documents is { } documents ? PyJson.FromElement(documents) : null);
        scope.Set("add_generation_prompt", options.AddGenerationPrompt);
        return new(scope, isRoot: true);
    }

    /// <summary>The last message with a mark behind its text, at which the rendered text is cut.</summary>
    private static ChatMessage[] WithTag(IReadOnlyList<ChatMessage> messages, ChatRenderOptions options, out string final)
    {
        if (options.AddGenerationPrompt)
            throw new ChatTemplateException("A conversation either continues its final message or begins a new one: "
                + "continue_final_message and add_generation_prompt exclude each other.");
        var last = messages[^1];
        var content = last["content"];
        if (content is { ValueKind: JsonValueKind.String } text)
        {
            final = text.GetString()!;
            return [.. messages.SkipLast(1), last.With("content", JsonSerializer.SerializeToElement(final + ContinueTag))];
        }
        if (content is { ValueKind: JsonValueKind.Array } parts)
        {
            var items = parts.EnumerateArray().ToArray();
            int place = Array.FindLastIndex(items, x => x.ValueKind == JsonValueKind.Object
                && x.TryGetProperty("text", out var y) && y.ValueKind == JsonValueKind.String);
            if (place >= 0)
            {
                final = items[place].GetProperty("text").GetString()!;
                items[place] = JsonSerializer.SerializeToElement(ChatMessage.FromJson(items[place])
                    .With("text", JsonSerializer.SerializeToElement(final + ContinueTag)).Fields.ToDictionary());
                return [.. messages.SkipLast(1), last.With("content", JsonSerializer.SerializeToElement(items))];
            }
        }
        throw new ChatTemplateException("The final message has no content to continue.");
    }

    private string WithoutTag(string text, string final)
    {
        int place = text.LastIndexOf(ContinueTag.TrimEnd(), StringComparison.Ordinal);
        if (place < 0 || !text.Contains(PyText.TrimStart(PyText.TrimEnd(final)), StringComparison.Ordinal))
            throw new ChatTemplateException($"{_name} leaves the final message out or changes it, so it cannot be continued.");
        bool spaced = string.CompareOrdinal(text, place, ContinueTag, 0, ContinueTag.Length) == 0;
        return spaced ? text[..place] : PyText.TrimEnd(text[..place]);
    }
}
