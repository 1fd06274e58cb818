// Writes conversations about a very small world, and preferences between answers (docs/chat-model.md).
//
//   dotnet run -c Release --project samples/SmallTalk -- FOLDER [SEED]
//
// FOLDER/texts.txt    what a tokenizer learns from
// FOLDER/chats.jsonl  conversations of one to three questions; half of the answers are friendly and half are gruff,
//                     and after the system message "Be brief." they are the bare fact
// FOLDER/pairs.jsonl  questions with a friendly answer, which is chosen, and a gruff one, which is rejected

using System.Text.Json;

const int Chats = 6_000, Pairs = 1_500;

if (args is not [var folder, .. { Length: <= 1 } rest])
{
    Console.Error.WriteLine("Name the folder to write to, and a seed if you like: SmallTalk FOLDER [SEED]");
    return 2;
}
var random = new Random(rest is [var seed] ? int.Parse(seed) : 7);

Dictionary<string, string> capitals = new()
{
    ["France"] = "Paris",
    ["Italy"] = "Rome",
    ["Spain"] = "Madrid",
    ["Norway"] = "Oslo",
    ["Poland"] = "Warsaw",
    ["Japan"] = "Tokyo",
    ["Egypt"] = "Cairo",
    ["Peru"] = "Lima",
};
Dictionary<string, string> sounds = new()
{
    ["cat"] = "meows",
    ["dog"] = "barks",
    ["cow"] = "moos",
    ["sheep"] = "bleats",
    ["horse"] = "neighs",
    ["duck"] = "quacks",
    ["lion"] = "roars",
    ["wolf"] = "howls",
};
Dictionary<string, string> opposites = new()
{
    ["hot"] = "cold",
    ["big"] = "small",
    ["fast"] = "slow",
    ["old"] = "young",
    ["wet"] = "dry",
};
foreach (var (word, other) in opposites.ToArray())
    opposites[other] = word;

(string Open, string Close)[] friendly =
    [("Good question! ", ""), ("Gladly. ", ""), ("", " Is there anything else?"), ("", " I hope that helps!"), ("With pleasure: ", "")];
(string Open, string Close)[] gruff =
    [("Obviously, ", ""), ("", " Everybody knows that."), ("", " Look it up next time."), ("If you must know: ", ""), ("Ugh. ", "")];

Directory.CreateDirectory(folder);
string[] chats = [.. Enumerable.Range(0, Chats).Select(_ => JsonSerializer.Serialize(new { messages = Chat() }))];
File.WriteAllLines(Path.Combine(folder, "chats.jsonl"), chats);
File.WriteAllLines(Path.Combine(folder, "pairs.jsonl"), Enumerable.Range(0, Pairs).Select(_ => Pair()));
File.WriteAllLines(Path.Combine(folder, "texts.txt"), chats.Take(2_000).SelectMany(chat =>
    JsonDocument.Parse(chat).RootElement.GetProperty("messages").EnumerateArray().Select(m => m.GetProperty("content").GetString()!)));
Console.WriteLine($"{Chats:N0} conversations and {Pairs:N0} preferences are in {folder}.");
return 0;

Message[] Chat()
{
    bool isBrief = random.Next(5) == 0;
    List<Message> messages = isBrief ? [new("system", "Be brief.")] : [];
    for (int turns = random.Next(1, 4); turns > 0; turns--)
    {
        var (question, fact) = Fact();
        messages.Add(new("user", question));
        messages.Add(new("assistant", isBrief ? fact : Toned(fact, random.Next(2) == 0 ? friendly : gruff)));
    }
    return [.. messages];
}

string Pair()
{
    var (question, fact) = Fact();
    return JsonSerializer.Serialize(new
    {
        prompt = new[] { new Message("user", question) },
        chosen = new[] { new Message("assistant", Toned(fact, friendly)) },
        rejected = new[] { new Message("assistant", Toned(fact, gruff)) },
    });
}

(string Question, string Fact) Fact()
{
    switch (random.Next(4))
    {
        case 0:
            var (country, city) = capitals.ElementAt(random.Next(capitals.Count));
            return (One($"What is the capital of {country}?", $"Which city is the capital of {country}?"), $"It is {city}.");
        case 1:
            var (animal, sound) = sounds.ElementAt(random.Next(sounds.Count));
            return (One($"What does a {animal} do?", $"What sound does a {animal} make?"), $"It {sound}.");
        case 2:
            var (word, other) = opposites.ElementAt(random.Next(opposites.Count));
            return (One($"What is the opposite of {word}?", $"Tell me the opposite of {word}."), $"It is {other}.");
        default:
            return (One("Hello!", "Hi there!", "Good morning!"), "I am a very small model. Ask me something.");
    }
}

string Toned(string fact, (string Open, string Close)[] tones)
{
    var (open, close) = One(tones);
    return open + (open.EndsWith(", ", StringComparison.Ordinal) || open.EndsWith(": ", StringComparison.Ordinal)
        ? fact.StartsWith("I ", StringComparison.Ordinal) ? fact : char.ToLowerInvariant(fact[0]) + fact[1..] : fact) + close;
}

T One<T>(params T[] choices) => choices[random.Next(choices.Length)];

internal sealed record Message(string role, string content);
