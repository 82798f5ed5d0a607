/** A service of the user's, as the io worker gets it. */
export interface ServiceSettings {
  readonly url: string;
  readonly options: unknown;
}

/** How many services one server or client may have. */
export const MAX_SERVICES = 16;
