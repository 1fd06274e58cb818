using System.Text;
using System.Text.Json;
using Rlhf.Runtime.Files;

namespace Rlhf.Tokenizers.Chat;

/// <summary>
/// Where templates lie: chat_template.jinja, with further ones in additional_chat_templates/, else chat_template in
/// tokenizer_config.json (a text, or a list of named ones), else chat_template.json.
/// </summary>
internal static class ChatTemplateFiles
{
    private const int SizeLimit = 4 << 20;

    public static ChatTemplate? Read(string folder)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(folder);
        folder = AutoTokenizer.OfBase(folder);
        var tokens = SpecialTokens(folder);
        string single = Path.Combine(folder, "chat_template.jinja"), further = Path.Combine(folder, "additional_chat_templates");
        var templates = new List<(string, string)>();
        if (File.Exists(single))
            templates.Add(("default", Text(single)));
        if (Directory.Exists(further))
            foreach (var file in Directory.EnumerateFiles(further, "*.jinja").Order(StringComparer.Ordinal))
                templates.Add((Path.GetFileNameWithoutExtension(file), Text(file)));
        if (templates.Count > 0)
            return new($"The chat template in {folder}", templates, tokens);
        foreach (var name in new[] { "tokenizer_config.json", "chat_template.json" })
            if (JsonPlace.ReadObject(Path.Combine(folder, name))?["chat_template"] is { } place)
                return new($"The chat template in {Path.Combine(folder, name)}", Named(place), tokens);
        return null;
    }

    public static ChatTemplate ReadFile(string file, string? folder)
    {
        var tokens = folder is null ? new() : SpecialTokens(folder);
        return file == ChatTemplate.BuiltInName ? ChatTemplate.ChatMl : new($"The chat template {file}", [("default", Text(file))], tokens);
    }

    public static void Write(string folder, IReadOnlyList<(string Name, string Source)> templates)
    {
        foreach (var (name, source) in templates)
        {
            bool only = name == "default";
            var file = only ? Path.Combine(folder, "chat_template.jinja")
                : Path.Combine(Directory.CreateDirectory(Path.Combine(folder, "additional_chat_templates")).FullName, Path.GetFileName(name) + ".jinja");
            AtomicFile.Write(file, stream => stream.Write(Encoding.UTF8.GetBytes(source)));
        }
    }

    private static List<(string, string)> Named(JsonPlace place)
    {
        if (place.Kind == JsonValueKind.String)
            return [("default", place.Text())];
        if (place.Kind == JsonValueKind.Object) // older files: names and templates
            return [.. place.Members().Select(x => (x.Name, x.Value.Text()))];
        return place.Kind == JsonValueKind.Array
            ? [.. place.Items().Select(x => (x.Required("name").Text(), x.Required("template").Text()))]
            : throw place.Wrong("must be a text, or a list of templates with name and template");
    }

    /// <summary>Tokens by role, the roles that only one model has included; tokenizer_config.json goes before the older map.</summary>
    private static Dictionary<string, object?> SpecialTokens(string folder)
    {
        var tokens = new Dictionary<string, object?>(StringComparer.Ordinal);
        foreach (var name in new[] { "special_tokens_map.json", "tokenizer_config.json" })
            foreach (var (role, value) in JsonPlace.ReadObject(Path.Combine(folder, name))?.Members() ?? [])
                if (role.EndsWith("_token", StringComparison.Ordinal) && Content(value) is { } token)
                    tokens[role] = token;
                else if (role is "additional_special_tokens" && value.Kind == JsonValueKind.Array)
                    tokens[role] = value.Items().Select(x => (object?)Content(x)).Where(x => x is not null).ToList();
        return tokens;
    }

    private static string? Content(JsonPlace place) => place.Kind switch
    {
        JsonValueKind.String => place.Text(),
        JsonValueKind.Object => place.Text("content"),
        _ => null,
    };

    private static string Text(string file)
    {
        try
        {
            return new UTF8Encoding(false, true).GetString(BoundedFile.Read(file, SizeLimit, "a chat template")).TrimStart('\uFEFF');
        }
        catch (DecoderFallbackException e)
        {
            throw new InvalidDataException($"{file} is not text in UTF-8.", e);
        }
    }
}
