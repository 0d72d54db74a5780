// What JavaScript programs do with npm's openai. Prints what it saw as JSON.

import OpenAI, { AzureOpenAI } from "openai";

const { MODEL, SERVICE_KEY, SERVICE_URL, API_VERSION, CLIENT } = process.env;
const options = { apiKey: SERVICE_KEY, maxRetries: 0, timeout: 30_000 };
const client =
  CLIENT === "azure"
    ? new AzureOpenAI({ ...options, endpoint: SERVICE_URL, apiVersion: API_VERSION })
    : new OpenAI({ ...options, baseURL: `${SERVICE_URL}/openai/v1` });
const { assistants, threads } = client.beta;
const tool = { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } };
const poll = { pollIntervalMs: 20 };

const outputsOf = (run) =>
  run.required_action.submit_tool_outputs.tool_calls.map(({ id }) => ({ tool_call_id: id, output: "mild" }));

const scenarios = {
  async read_stream() {
    const assistant = await assistants.create({ model: MODEL });
    const stream = threads.createAndRunStream({ assistant_id: assistant.id });
    let text = "";
    stream.on("textDelta", (delta) => (text += delta.value));
    const run = await stream.finalRun();
    return { text, status: run.status };
  },

  async round_trip() {
    const assistant = await assistants.create({ model: MODEL, tools: [tool], name: "Node" });
    const thread = await threads.create({ messages: [{ role: "user", content: "Hi" }] });
    let run = await threads.runs.createAndPoll(thread.id, { assistant_id: assistant.id }, poll);
    const statuses = [run.status];
    const outputs = { thread_id: thread.id, tool_outputs: outputsOf(run) };
    run = await threads.runs.submitToolOutputsAndPoll(run.id, outputs, poll);
    statuses.push(run.status);
    const messages = [];
    for await (const message of threads.messages.list(thread.id, { limit: 1 })) {
      messages.push(message.content[0].text.value);
    }
    const steps = [];
    for await (const step of threads.runs.steps.list(run.id, { thread_id: thread.id })) steps.push(step.type);
    const deleted = [(await threads.delete(thread.id)).deleted, (await assistants.delete(assistant.id)).deleted];
    try {
      await threads.retrieve(thread.id);
    } catch (error) {
      if (!(error instanceof OpenAI.NotFoundError)) throw error;
      deleted.push(error.error.message.replace(thread.id, "…"));
    }
    return { statuses, messages, steps, deleted };
  },

  async hear_handler() {
    const heard = [];
    const listen = (stream) =>
      stream
        .on("messageCreated", () => heard.push("message created"))
        .on("messageDone", () => heard.push("message done"))
        .on("toolCallDone", (call) => heard.push(`call ${call.function.name} ${call.function.arguments}`))
        .on("textDone", (text) => heard.push(`text ${text.value}`))
        .on("end", () => heard.push("end"));
    const assistant = await assistants.create({ model: MODEL, tools: [tool] });
    const first = await listen(threads.createAndRunStream({ assistant_id: assistant.id })).finalRun();
    const outputs = { thread_id: first.thread_id, tool_outputs: outputsOf(first) };
    const stream = listen(threads.runs.submitToolOutputsStream(first.id, outputs));
    const last = await stream.finalRun();
    await stream.done();
    const [message] = await stream.finalMessages();
    const stored = await threads.messages.retrieve(message.id, { thread_id: last.thread_id });
    return { heard, status: last.status, same: JSON.stringify(message.content) === JSON.stringify(stored.content) };
  },

  async hear_code() {
    const heard = [];
    const note = (what) => heard.at(-1) !== what && heard.push(what);
    const assistant = await assistants.create({ model: MODEL, tools: [{ type: "code_interpreter" }] });
    const stream = threads
      .createAndRunStream({ assistant_id: assistant.id })
      .on("messageCreated", () => note("message created"))
      .on("messageDone", () => note("message done"))
      .on("textDelta", () => note("text delta"))
      .on("imageFileDone", (image) => note(`image ${image.file_id.slice(0, 5)}`))
      .on("toolCallCreated", () => note("tool call created"))
      .on("toolCallDelta", () => note("tool call delta"))
      .on("toolCallDone", (call) => note(`tool call done: ${call.code_interpreter.input}`));
    const run = await stream.finalRun();
    await stream.done();
    const [message] = await stream.finalMessages();
    const [code] = (await stream.finalRunSteps()).flatMap((step) => step.step_details.tool_calls ?? []);
    const [image, text] = message.content;
    const [link] = text.text.annotations;
    const written = await client.files.content(link.file_path.file_id);
    return {
      heard,
      status: run.status,
      outputs: code.code_interpreter.outputs.map((output) => output.type),
      cut: text.text.value.slice(link.start_index, link.end_index) === link.text,
      written: await written.text(),
      image: (await (await client.files.content(image.image_file.file_id)).arrayBuffer()).byteLength > 1000,
    };
  },

  async cancel_while_streaming() {
    const assistant = await assistants.create({ model: MODEL });
    const stream = threads.createAndRunStream({ assistant_id: assistant.id });
    stream.once("messageDelta", () => {
      const run = stream.currentRun();
      threads.runs.cancel(run.id, { thread_id: run.thread_id });
    });
    const run = await stream.finalRun();
    return { status: run.status };
  },
};

console.log(JSON.stringify(await scenarios[process.argv[2]]()));
